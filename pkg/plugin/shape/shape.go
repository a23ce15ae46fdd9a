package shape

import "fmt"

// Shape is the form of a partition. Its values are the words of the command line.
type Shape string

// The shapes. Each is symmetric: who doesn't reach a pod isn't reached by it.
const (
	// Halves are two groups, of which the first has one pod less if the number is odd. No pod of
	// the one reaches a pod of the other.
	Halves Shape = "halves"
	// Ring has each pod reach its neighbours in a ring: as few as make a majority with it, the
	// same number on both sides. No two pods see the same majority.
	Ring Shape = "ring"
	// Bridge is Halves, but that the pod in the middle belongs to neither, and reaches everybody.
	Bridge Shape = "bridge"
	// Isolate cuts the first pod off from all others, which reach each other.
	Isolate Shape = "isolate"
)

// Names returns the words for all shapes.
func Names() []string {
	return []string{string(Halves), string(Ring), string(Bridge), string(Isolate)}
}

// Cut is two groups of pods. No packet passes from a pod of the one to a pod of the other, either
// way.
type Cut struct{ From, To []string }

// Least returns how many pods a shape needs.
func (s Shape) Least() int {
	switch s {
	case Ring: // of 3, each would reach both others
		return 4
	case Bridge:
		return 3
	default:
		return 2
	}
}

// Cuts returns what a shape cuts between some pods, each pair of pods once. Their order decides
// which pods are on which side: that by name, but that the pod to isolate is first. Only Ring
// has more than one cut. The error says how many pods the shape needs.
func (s Shape) Cuts(pods []string) ([]Cut, error) {
	n := len(pods)
	if n < s.Least() {
		return nil, fmt.Errorf("%s needs at least %d pods, and there are %d", s, s.Least(), n)
	}
	switch s {
	case Halves:
		return []Cut{{pods[:n/2], pods[n/2:]}}, nil
	case Bridge:
		return []Cut{{pods[:n/2], pods[n/2+1:]}}, nil
	case Isolate:
		return []Cut{{pods[:1], pods[1:]}}, nil
	case Ring:
		return ring(pods), nil
	default:
		return nil, fmt.Errorf("there is no shape %q", s)
	}
}

// ring cuts each pod off from those after it that are farther away in the ring, either way round,
// than its neighbours. So each pair is in the cut of that of its pods which comes first.
func ring(pods []string) []Cut {
	n := len(pods)
	majority := n/2 + 1
	near := majority / 2 // on each side: with the pod itself at least a majority
	var all []Cut
	for i := 0; i+near+1 < n; i++ {
		all = append(all, Cut{pods[i : i+1], pods[i+near+1 : min(i+n-near, n)]})
	}
	return all
}
