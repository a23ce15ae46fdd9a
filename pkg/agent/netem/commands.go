package netem

import (
	"fmt"
	"slices"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Commands returns the commands for a POSIX shell that build on clean
// interfaces the very tree that an engine with the same exemption and memory
// builds for faults, in its order. The name of an ifb has its interface's index
// in it, which a variable stands for. What tc does not do as the engine does: it
// cuts times to whole microseconds and some 64 ns ticks, takes the tables of
// distributions from files of its own, whose tails differ a little, and knows
// the word seed only since iproute2 6.7.
func Commands(devices []string, exempt fault.Exemption, queueMemory uint64, faults []fault.Fault) []string {
	var all []string
	for _, device := range devices {
		now := port{egress: tree{place: place{device, fault.Egress}, link: device}, ingress: tree{place: place{device, fault.Ingress}, link: "$ifb"}}
		targets := make(map[place]*spec)
		for _, t := range now.trees() {
			w := compile(t.place, faults, exempt, queueMemory)
			bands, err := w.assign(t, nil, nil)
			if err != nil {
				return nil // more faults than fault.MaxFaults, which no request gets past
			}
			if len(bands) > 0 {
				targets[t.place] = w.spec(bands)
			}
		}
		if targets[now.ingress.place] != nil {
			all = append(all, fmt.Sprintf("ifb=tidelay$(ip -o link show dev %s | cut -d: -f1)", device))
		}
		s := now.plan(targets, nil, true)
		for _, o := range slices.Concat(s.build, s.lead) {
			all = append(all, o.String())
		}
	}
	return all
}
