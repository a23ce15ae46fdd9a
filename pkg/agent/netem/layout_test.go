package netem

import "testing"

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
			tree := foundTree{netems: map[uint8]netemQdisc{bandFirst: {handle: netemHandle(bandFirst)}}}
			ours := func(place int) u32 {
				return u32{kind: kindU32, priority: priority(0, ipv4), protocol: ipv4.protocol(), node: nodeNumber(place), classID: class(bandFirst), simple: true, redirect: -1}
			}
			other := ours(0)
			other.node = unnumbered
			added := false
			for place := range length {
				if ours(place).node > unnumbered && !added {
					tree.addFilter(other)
					added = true
				}
				tree.addFilter(ours(place))
			}
			if !added {
				if tree.foreignInside != "" {
					t.Fatalf("%d filters of ours: %s", length, tree.foreignInside)
				}
				tree.addFilter(other)
			}
			if tree.foreignInside == "" || len(tree.filters(ipv4)) != length {
				t.Errorf("%d filters of ours and another: found %d, foreign %q", length, len(tree.filters(ipv4)), tree.foreignInside)
			}
			gap := ours(length + 1)
			if gap.node > unnumbered {
				tree.foreignInside = ""
				if tree.addFilter(gap); tree.foreignInside == "" {
					t.Errorf("number %#x behind %d filters is taken for ours", gap.node, length)
				}
			}
		})
	}
}
