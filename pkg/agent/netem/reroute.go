package netem

import "slices"

// replaceFilters decides how one family's filters, in the blocks that were
// found, become one list in one block. Lists are replaced and not edited, so that
// at every moment each packet meets its old or its new fault. The proof, with
// the numbers in the code:
//
// Call old all filters that were found, in their order, and new the list. A
// packet follows the first filter that matches it.
//
//  1. If a block already has the new list, nothing is added. Otherwise a block
//     is added before or behind all others, filter by filter. Its filters so far
//     are always the first ones of new, so if a packet matches one of them, the
//     first that it matches is the one that it follows in new.
//     If the block is before old, a packet that matches one of its filters
//     follows new, and any other follows old.
//     If the block is behind old, a packet that matches in old follows old. One
//     that does not follows new, or matches nothing yet, as in old.
//  2. The other blocks are deleted from the last to the first, each in one
//     request. What is left of them is always the first part of old. So a packet
//     follows old if its match there is left and not behind its match in new;
//     otherwise it follows new.
//     The hash tables of a block go after it, when no packet comes there.
//  3. There is no room for a block only if those at both ends are in use, which
//     agents that were killed on the way can leave. Then the last block is
//     deleted first. This is the only exception: a packet that matches only in
//     that block meets no fault until step 1 is done.
//
// Without a new list the tables stay. They go with the tree.
func replaceFilters(link string, f family, found []block, list []filter) []op {
	same := slices.IndexFunc(found, func(b block) bool { return sameFilters(b.filters, list) })
	switch {
	case same >= 0:
		keep := found[same]
		others := slices.Delete(slices.Clone(found), same, same+1)
		return slices.Concat(deleteBlocks(link, f, others), deleteTables(link, f, keep.index, append(tablesOf(others), keep.unlinked...))) // 2
	case len(list) == 0:
		return deleteBlocks(link, f, found) // 2
	}
	var ops []op
	for !hasRoom(found) {
		last := len(found) - 1
		ops = append(ops, deleteBlocks(link, f, found[last:])...) // 3
		ops = append(ops, deleteTables(link, f, found[0].index, tablesOf(found[last:]))...)
		found = found[:last]
	}
	index := freeBlock(found)
	return slices.Concat(ops,
		addBlock(link, f, index, list), // 1
		deleteBlocks(link, f, found),   // 2
		deleteTables(link, f, index, tablesOf(found)))
}

// deleteBlocks deletes blocks from the last to the first.
func deleteBlocks(link string, f family, found []block) []op {
	var ops []op
	for _, b := range slices.Backward(found) {
		ops = append(ops, deleteBlock{link: link, block: b.index, family: f})
	}
	return ops
}

// hasRoom reports whether there is an index before or behind the blocks in use.
func hasRoom(used []block) bool {
	return len(used) == 0 || used[0].index > 0 || used[len(used)-1].index < maxBlocks-1
}

// freeBlock returns the index before the blocks in use, or the one behind them
// where there is none before.
func freeBlock(used []block) int {
	switch {
	case len(used) == 0:
		return 0
	case used[0].index > 0:
		return used[0].index - 1
	default:
		return used[len(used)-1].index + 1
	}
}
