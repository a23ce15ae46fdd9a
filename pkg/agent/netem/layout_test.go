package netem

import (
	"slices"
	"testing"
)

// The largest list has a number for each filter, in their order, and none is that
// of a filter which the kernel numbers.
func TestNodeNumbers(t *testing.T) {
	last := uint32(0)
	for place := range maxFilters {
		number := nodeNumber(place)
		if number <= last || number == unnumbered || number > 0xfff {
			t.Fatalf("filter %d has number %#x behind %#x", place, number, last)
		}
		last = number
	}
}

// A filter that somebody else added to a list of ours is known by its number,
// however long the list is.
func TestFiltersOfOthersInALongList(t *testing.T) {
	for _, length := range []int{1, 0x7fe, 0x7ff, 0x800, maxFilters} {
		t.Run("", func(t *testing.T) {
			ours := func(place int) u32 {
				return u32{kind: kindU32, priority: priority(0, ipv4), protocol: ipv4.protocol(), table: firstRootTable, node: nodeNumber(place), classID: class(bandFirst), simple: true, redirect: -1}
			}
			var list []u32
			for place := range length {
				list = append(list, ours(place))
			}
			read := func(more ...u32) foundTree {
				var tree foundTree
				tree.addFilters(append(slices.Clone(list), more...))
				return tree
			}
			if tree := read(); tree.foreignInside != "" || len(tree.filters(ipv4)) != length {
				t.Errorf("%d filters of ours: found %d, foreign %q", length, len(tree.filters(ipv4)), tree.foreignInside)
			}
			other := ours(0)
			other.node = unnumbered
			if tree := read(other); tree.foreignInside == "" || len(tree.filters(ipv4)) != length {
				t.Errorf("%d filters of ours and another: found %d, foreign %q", length, len(tree.filters(ipv4)), tree.foreignInside)
			}
			if gap := ours(length + 1); gap.node > unnumbered && gap.node <= 0xfff && read(gap).foreignInside == "" {
				t.Errorf("number %#x behind %d filters is taken for ours", gap.node, length)
			}
		})
	}
}
