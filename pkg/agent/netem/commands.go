package netem

import (
	"fmt"
	"slices"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Commands returns the commands for a POSIX shell that build, on interfaces
// without any qdisc of ours, the same trees as an engine with this exemption and
// memory, in the same order. They have a variable for the name of an ifb, which
// contains the index of its interface, and one for the interface's MTU.
//
// tc differs from the engine in three ways. It cuts times to whole microseconds
// and 64 ns ticks. It reads the tables of distributions from its own files, whose
// tails differ a little. It knows the word seed only from iproute2 6.7 on.
func Commands(devices []string, exempt fault.Exemption, queueMemory uint64, faults []fault.Fault) []string {
	var all []string
	for _, device := range devices {
		found := foundDevice{
			egress:  foundTree{attachPoint: attachPoint{device, fault.Egress}, link: device},
			ingress: foundTree{attachPoint: attachPoint{device, fault.Ingress}, link: "$ifb"},
		}
		targets := make(targetTrees)
		for _, t := range found.trees() {
			desired := desiredAt(t.attachPoint, faults, exempt, queueMemory)
			if !desired.needsTree(t) {
				continue
			}
			bands, err := desired.assignBands(t, applied{})
			if err != nil {
				return nil // more than fault.MaxFaults, which no request can have
			}
			targets[t.attachPoint] = desired.target(t, bands)
		}
		if targets.has(found.ingress.attachPoint) {
			all = append(all, fmt.Sprintf("ifb=tidelay$(ip -o link show dev %s | cut -d: -f1)", device))
		}
		p := found.plan(targets, applied{}, true)
		if slices.ContainsFunc(p.prepare, func(o op) bool { _, is := o.(setSegmenter); return is }) {
			all = append(all, fmt.Sprintf("mtu=$(ip -o link show dev %s | grep -o 'mtu [0-9]*' | cut -d' ' -f2)", device))
		}
		for _, o := range slices.Concat(p.prepare, p.reroute) {
			all = append(all, o.String())
		}
	}
	return all
}
