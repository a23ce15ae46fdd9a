package verify

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/networkfault/compile"
)

// reason is why something of an object is not measured; the zero value is for none.
type reason struct {
	rank rank
	text string
}

// rank is the place of a reason among others: the first one explains most.
type rank int

const (
	// unshown: neither a handshake nor a ping can show what is asked for, between any pods.
	unshown rank = iota + 1
	// unmet: none of them meets it, between the pods that were tried.
	unmet
	// outside: it is for others than pods that can be measured.
	outside
	// notCounted: no counter shows it. It says nothing of why no pair does.
	notCounted
	// full: the agents have enough to measure. With fewer objects they would measure it.
	full
	// cutOff: nothing gets through another object, between any of them.
	cutOff
)

// cutOffBy is the reason of an object that does not show, since nothing gets through others.
func cutOffBy(others []string) reason {
	return reason{cutOff, "nothing gets through " + compile.Describe(slices.Min(others))}
}

// or returns the one of two reasons that explains more; of two that explain as much always the
// same one.
func (r reason) or(other reason) reason {
	switch {
	case r.rank == 0:
		return other
	case other.rank == 0 || cmp.Or(cmp.Compare(r.rank, other.rank), strings.Compare(r.text, other.text)) <= 0:
		return r
	default:
		return other
	}
}

// unseen notes why something of an object is not measured: of several reasons the one that
// explains most. That no counter shows something does not explain why no pair does.
func (p *planner) unseen(object string, why reason) {
	if known := p.why[object]; known.rank == 0 || why.rank != notCounted || !p.noPair[object] {
		p.why[object] = known.or(why)
	}
}

// tellUncovered notes what no pair covers.
func (p *planner) tellUncovered() {
	covered := map[string]bool{} // objects of which something is
	for i, c := range p.items {
		covered[i.object] = covered[i.object] || c.isCovered
	}
	for i, c := range p.items {
		switch {
		case c.isCovered:
		case covered[i.object]:
			p.unseen(i.object, reason{c.why.rank, i.String() + ": " + c.why.text})
		default:
			p.unseen(i.object, c.why)
		}
	}
	for _, pod := range p.pods {
		for _, f := range pod.Faults {
			if len(f.Objects) == 1 && isMeasured(f.Impairment) && !covered[f.Objects[0]] {
				p.noPair[f.Objects[0]] = true
			}
		}
	}
}
