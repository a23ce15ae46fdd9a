//go:build kernel

package kernel

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// assorted has an impairment of each kind that every engine can do, in both
// directions and with all terms of a match.
func assorted(l *lab) []api.Fault {
	return []api.Fault{
		{Name: "latency", Delay: "20ms", Jitter: "1ms", Distribution: "normal"},
		{Name: "loss", Peers: []string{l.bystander.More[0], l.bystander.More6[0]}, Loss: lossOf(2.5), Direction: "both"},
		{Name: "port", Delay: "500us", Protocol: "tcp", Ports: &api.Ports{Remote: ports(api.PortRange{First: 2379, Last: 2380}, api.PortRange{First: 20160, Last: 20160})}},
		{Name: "slow", Peers: []string{"10.99.1.0/24"}, Rate: &api.Rate{PerSecond: "10mbit"}, Direction: "ingress"},
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	a := startAgent(t)
	a.apply(api.Fault{Name: "latency", Delay: "10ms"})
	before := kernelState(t, a.lab.pod)
	var planned api.Changes
	a.send(http.MethodPut, api.PathFaults+"?dryRun=true", encode(t, assorted(a.lab)...), http.StatusOK, &planned)
	if planned.Applied || len(planned.Changes) != 4 || len(planned.Faults) != 4 || len(planned.TC) == 0 {
		t.Errorf("dry run: %+v", planned)
	}
	var latency api.Latency
	a.into(http.MethodGet, api.PathLatency+"/50ms?dryRun=true", http.StatusOK, &latency)
	if latency.Fault == nil || latency.Fault.Delay != "50ms" || !strings.Contains(latency.Meaning, "dry run") {
		t.Errorf("dry run: %+v", latency)
	}
	if after := kernelState(t, a.lab.pod); after != before {
		t.Errorf("before a dry run:\n%s\nafter it:\n%s", before, after)
	}
	if held := a.faults(); len(held) != 1 || held[0].Delay != "10ms" {
		t.Errorf("after a dry run: %+v", held)
	}
}

// The commands that a dry run prints build what the agent builds. tc's own
// tables of distributions differ from ours, but `tc qdisc show` shows neither.
func TestPrintedCommandsBuildTheTree(t *testing.T) {
	a := startAgent(t)
	if engineName != "netem" {
		// What tc shows is netem's; another engine still prints the commands.
		if answer := a.apply(assorted(a.lab)...); len(answer.TC) == 0 {
			t.Error("no commands")
		}
		return
	}
	answer := a.apply(assorted(a.lab)...)
	pod := a.lab.pod
	apart := netlab.Apart(t, "apart")
	apart.Exec(t, "ip link add eth0 type veth peer name other")
	script := strings.Join(answer.TC, "\n")
	apart.Shell(t, script)
	for _, show := range []string{"tc qdisc show dev %s", "tc filter show dev %s", "tc filter show dev %s ingress"} {
		for _, of := range []func(*netlab.Host) string{func(*netlab.Host) string { return netlab.Device }, func(h *netlab.Host) string { return ifb(t, h) }} {
			want, got := tree(pod.Exec(t, fmt.Sprintf(show, of(pod)))), tree(apart.Exec(t, fmt.Sprintf(show, of(apart))))
			if !slices.Equal(want, got) {
				t.Errorf("%s, made by the agent:\n%s\nby the commands:\n%s\nwhich are:\n%s", show, strings.Join(want, "\n"), strings.Join(got, "\n"), script)
			}
		}
	}
	if all := pod.Exec(t, "tc qdisc show dev eth0"); strings.Count(all, "netem") != 3 {
		t.Errorf("the agent's own tree has not three netem:\n%s", all)
	}
}

// ifb is the name of the interface that what arrives at eth0 goes through. It
// has the index of eth0 in it.
func ifb(t *testing.T, h *netlab.Host) string {
	t.Helper()
	return "tidelay" + strings.Split(h.Exec(t, "ip -o link show dev eth0"), ":")[0]
}

// volatile is what differs between two builds of one tree: a seed that the
// kernel chose, and the priorities and numbers of filters, which tell an older
// list from its replacement, and the name and MAC address of the ifb.
var volatile = regexp.MustCompile(` ([0-9a-f]{2}:){5}[0-9a-f]{2}| (seed|pref|refcnt) [0-9]+| fh [0-9a-f:]+|tidelay[0-9]+| (order|key ht) [0-9a-f]+`)

// tree is the text of tc without what is volatile.
func tree(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimSpace(volatile.ReplaceAllString(line, "")))
	}
	slices.Sort(lines)
	return lines
}
