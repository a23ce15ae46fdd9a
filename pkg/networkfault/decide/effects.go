package decide

import (
	"slices"

	"github.com/tidelay/tidelay/pkg/networkfault/compile"
)

// Holders returns the names of the pods whose agents are to hold an object, sorted. key is
// the name of a fault, or what compile.TopologyKey makes of the name of a topology.
func (d Decision) Holders(key string) []string {
	var all []string
	for pod, faults := range d.Faults {
		if slices.ContainsFunc(faults, func(f Fault) bool { return slices.Contains(f.Objects, key) }) {
			all = append(all, pod)
		}
	}
	slices.Sort(all)
	return all
}

// Effects returns what happens between pods to the packets that an object is for, by the
// object together with all others. pods are those of the Input. A pair of which no packet
// that counts is lost or late is left out; see compile.Effect.
func (d Decision) Effects(key string, pods []Pod) map[compile.Pair]compile.Effect {
	own := compile.Plan{Faults: map[string][]compile.Fault{}}
	for pod, faults := range d.Faults {
		for _, f := range faults {
			if slices.Contains(f.Objects, key) {
				own.Faults[pod] = append(own.Faults[pod], f.Fault)
			}
		}
	}
	all := decision{Input: Input{Pods: pods}}
	return own.Effects(all.compiledPods())
}
