package netem

import (
	"cmp"
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// addFilter adds a filter to the list of a priority or to a bucket.
func (k *fakeKernel) addFilter(t *foundTree, o addFilter) error {
	if o.block == claimBlock {
		t.claimed = true
		return nil
	}
	if _, there := t.netems[o.filter.band]; !there && o.filter.band != bandClean {
		k.t.Errorf("%s before its netem is there", o)
	}
	u := k.node(o.block, o.family, o.node)
	u.keys, u.classID, u.simple = o.filter.keys, class(o.filter.band), true
	if o.table != 0 {
		if !k.hasTable(t, o.table) {
			return unix.EINVAL
		}
		u.table, u.bucket = o.table, o.bucket
	}
	return k.add(t, u)
}

// node is a filter of a block, so far as all of them are the same.
func (k *fakeKernel) node(block int, f family, node uint32) u32 {
	return u32{kind: kindU32, priority: priority(block, f), protocol: f.protocol(), table: firstRootTable + uint32(priority(block, f)), node: node, redirect: -1}
}

func (k *fakeKernel) hasTable(t *foundTree, number uint32) bool {
	return slices.ContainsFunc(k.filters[t.attachPoint], func(u u32) bool { return u.isTable && u.table == number })
}

// add puts a filter behind those with lower numbers.
func (k *fakeKernel) add(t *foundTree, u u32) error {
	list := k.filters[t.attachPoint]
	i, there := slices.BinarySearchFunc(list, u, func(a, b u32) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.table, b.table), cmp.Compare(a.bucket, b.bucket), cmp.Compare(a.node, b.node))
	})
	if there || u.node > 0xfff {
		return unix.EEXIST
	}
	k.filters[t.attachPoint] = slices.Insert(list, i, u)
	k.stale[t.attachPoint] = true
	return nil
}

// changeBlocks makes changes of tables and blocks.
func (k *fakeKernel) changeBlocks(t *foundTree, o op) error {
	switch o := o.(type) {
	case addTable:
		if o.link == t.link {
			u := k.node(o.block, o.family, 0)
			u.table, u.isTable, u.simple = o.table, true, true
			k.deleteTable(t, o.table) // an orphan; see conn.addTable
			return k.add(t, u)
		}
	case addLink:
		if o.link == t.link {
			u := k.node(o.block, o.family, o.node)
			u.link, u.byteAt, u.simpleLink = o.table, hashedBy(hashKey(o.byteAt)), true
			if !k.hasTable(t, o.table) {
				return unix.EINVAL
			}
			return k.add(t, u)
		}
	case deleteTable:
		if o.link == t.link {
			if slices.ContainsFunc(k.filters[t.attachPoint], func(u u32) bool { return u.link == o.table }) {
				return unix.EBUSY
			}
			k.deleteTable(t, o.table)
		}
	case deleteBlock:
		if o.link == t.link {
			list := k.filters[t.attachPoint]
			rest := slices.DeleteFunc(slices.Clone(list), func(u u32) bool {
				return u.priority == priority(o.block, o.family) && u.table >= firstRootTable // tables stay
			})
			if len(rest) == len(list) {
				return unix.ENOENT
			}
			k.filters[t.attachPoint] = rest
			k.stale[t.attachPoint] = true
		}
	}
	return nil
}

func (k *fakeKernel) deleteTable(t *foundTree, number uint32) {
	k.filters[t.attachPoint] = slices.DeleteFunc(slices.Clone(k.filters[t.attachPoint]), func(u u32) bool { return u.table == number })
	k.stale[t.attachPoint] = true
}

// readBlocks reads the blocks of a tree if they have changed. Tables whose priority
// has nothing else are not reported.
func (k *fakeKernel) readBlocks(t *foundTree) {
	if !k.stale[t.attachPoint] {
		return
	}
	k.stale[t.attachPoint] = false
	there := make(map[uint16]bool)
	for _, u := range k.filters[t.attachPoint] {
		there[u.priority] = there[u.priority] || u.table >= firstRootTable
	}
	var read foundTree
	read.addFilters(slices.DeleteFunc(slices.Clone(k.filters[t.attachPoint]), func(u u32) bool { return !there[u.priority] }))
	if t.blocks = read.blocks; read.foreignInside != "" {
		k.t.Errorf("filters of ours are taken for %s", read.foreignInside)
	}
}

// classify does what the kernel does with the filters of a family: it returns the
// band of the first that matches, 0 if none does (u32_classify in
// net/sched/cls_u32.c).
func (k *fakeKernel) classify(p attachPoint, f family, packet []byte) uint8 {
	all := k.filters[p]
	for _, u := range all {
		if u.table < firstRootTable || u.protocol != f.protocol() {
			continue
		}
		if u.link == 0 {
			if u.keys.match(packet) {
				return uint8(u.classID)
			}
			continue
		}
		for _, v := range all {
			if v.table == u.link && !v.isTable && v.bucket == packet[u.byteAt] && v.keys.match(packet) {
				return uint8(v.classID)
			}
		}
	}
	return 0
}

func (k keys) match(packet []byte) bool {
	return !slices.ContainsFunc(k, func(one key) bool {
		return int(one.offset)+4 > len(packet) || binary.BigEndian.Uint32(packet[one.offset:])&one.mask != one.value
	})
}
