package measured

import (
	"cmp"
	"slices"

	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

// Cell is the ordered pairs from one group to another; of one pod to itself there is none.
type Cell struct {
	From, To string
	Pairs    []*Pair
}

// IsEmpty reports whether there are no pairs.
func (c *Cell) IsEmpty() bool { return len(c.Pairs) == 0 }

// Count is how many pairs have a verdict.
func (c *Cell) Count(v verify.Verdict) int {
	n := 0
	for _, p := range c.Pairs {
		if p.Verdict() == v {
			n++
		}
	}
	return n
}

// Answered returns the pairs with a round trip, the shortest first.
func (c *Cell) Answered() []*Pair {
	all := slices.DeleteFunc(slices.Clone(c.Pairs), func(p *Pair) bool { rtt, _ := p.RTT(); return rtt == 0 })
	slices.SortStableFunc(all, func(a, b *Pair) int {
		rttA, _ := a.RTT()
		rttB, _ := b.RTT()
		return cmp.Compare(rttA, rttB)
	})
	return all
}

// cut is how many pairs have no answer, as asked.
func (c *Cell) cut() int {
	n := 0
	for _, p := range c.Pairs {
		if p.IsCut() {
			n++
		}
	}
	return n
}
