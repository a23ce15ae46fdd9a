package measured

import (
	"cmp"
	"fmt"
	"slices"
)

// SetByHand notes a fault that somebody has set at the agent of a pod by hand. No object asks for
// it, so that nothing is said of the pairs of that pod.
func (m *Matrix) SetByHand(pod, name, what string) {
	m.InForce = append(slices.Clip(m.InForce), Object{Kind: "fault", Name: name, What: what, At: pod})
	slices.SortStableFunc(m.InForce, func(a, b Object) int { // agents tell it in any order
		if a.At == "" && b.At == "" {
			return 0
		}
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Name, b.Name))
	})
	for _, p := range m.Pairs {
		if p.From == pod || p.To == pod {
			p.byHand = fmt.Sprintf("a fault is set by hand at %s", pod)
		}
	}
}
