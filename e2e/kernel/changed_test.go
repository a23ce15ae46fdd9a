//go:build kernel

package kernel

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// What somebody else removes or changes is reported, and mended by the next
// request, which says so. Nothing of the fault stays in force meanwhile that nobody sees.
func TestChangesByOthersAreReported(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	commands := map[string][]string{
		"all of it":   {"tc qdisc del dev eth0 root", "tc qdisc del dev eth0 ingress"},
		"a parameter": {"tc qdisc change dev eth0 parent 7de1:2 handle 7e02: netem delay 20ms limit 1000"},
	}
	if engineName == "nfqueue" {
		commands = map[string][]string{"all of it": {"nft flush ruleset"}, "a part": {"nft flush chain ip tidelay egress-0"}}
	}
	base := rtt(t, l.node, l.pod.IP)
	for what, all := range commands {
		t.Run(what, func(t *testing.T) {
			a.t = t
			a.set("20ms")
			for _, command := range all {
				l.pod.Exec(t, command)
			}
			status := a.status()
			if len(status.Faults) != 1 || status.Faults[0].Held || !strings.Contains(strings.Join(status.Warnings, "\n"), "latency") {
				t.Errorf("after %s: faults %+v, warnings %q", all, status.Faults, status.Warnings)
			}
			if what != "a parameter" {
				wantRTT(t, l.node, "without it", l.pod.IP, base, 0)
			}
			for _, want := range []string{api.ActionRestore, api.ActionKeep} {
				answer, err := a.client().ReplaceFaults(context.Background(), a.faults())
				if err != nil || len(answer.Body.Changes) != 1 || answer.Body.Changes[0].Action != want {
					t.Errorf("after %s: %v, changes %+v, want %s", all, err, answer.Body.Changes, want)
				}
			}
			a.wantHeld(1)
			wantRTT(t, l.node, "once mended", l.pod.IP, base, 20*time.Millisecond)
			a.clear()
		})
	}
	a.t = t
}
