//go:build kernel

package kernel

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

func TestBadInputChangesNothing(t *testing.T) {
	netlab.EngineIndependent(t)
	a := startAgent(t)
	l := a.lab
	base := rtt(t, l.node, l.pod.IP)
	a.set("20ms")
	before := kernelState(t, l.pod)
	for _, path := range []string{
		"/abc", "/-5ms", "/1S", "/", "/%20", "/0.5us", "/601s", "/99999999999999999999s", "/20ms%0a", "/20ms%2F",
		"/" + url.PathEscape("20ms loss 50%"), "/" + strings.Repeat("9", 4000), "/20ms?jiter=5ms", "/50ms?duration=", "/20ms?jitter=30ms",
		"/50ms?direction=up", "/50ms?distribution=normal", "/50ms?verify=true", "/50ms?duration=0s", "/50ms?dryRun=1", "/50ms?jitter=1ms&jitter=2ms",
	} {
		var problem api.Problem
		a.into(http.MethodGet, api.PathLatency+path, http.StatusBadRequest, &problem)
		if problem.Status != http.StatusBadRequest || problem.Title == "" || problem.Detail == "" || len(problem.Detail) > 400 ||
			len(problem.Errors) == 0 || problem.Errors[0].Field == "" || problem.Errors[0].Accepted == "" {
			t.Errorf("%.40s: problem %+v", path, problem)
		}
		if !strings.Contains(path, "?") && !strings.Contains(problem.Detail, `"20ms"`) {
			t.Errorf("%.40s: the detail does not say what is accepted: %s", path, problem.Detail)
		}
	}
	for path, want := range map[string]int{"/nowhere": http.StatusNotFound, "/latency/20ms/more": http.StatusNotFound, "//latency/20ms": http.StatusNotFound} {
		var problem api.Problem
		a.into(http.MethodGet, path, want, &problem)
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		var problem api.Problem
		a.into(method, api.PathLatency+"/50ms", http.StatusMethodNotAllowed, &problem)
	}
	if after := kernelState(t, l.pod); after != before {
		t.Errorf("bad input changed the kernel, before:\n%s\nafter:\n%s", before, after)
	}
	wantRTT(t, l.node, "after bad input", l.pod.IP, base, 20*time.Millisecond)
}

// What somebody else made stays, byte for byte: a root qdisc, or a table of our
// name. To end what is not there works beside it.
func TestForeignStateIsRefusedAndLeftAlone(t *testing.T) {
	a := startAgent(t)
	pod := a.lab.pod
	switch engineName {
	case "netem":
		pod.Exec(t, "tc qdisc add dev eth0 root handle 1: tbf rate 1gbit burst 100k latency 50ms")
		defer pod.Exec(t, "tc qdisc del dev eth0 root")
	case "nfqueue":
		pod.Exec(t, "nft add table ip tidelay")
		pod.Exec(t, "nft add chain ip tidelay theirs")
		defer pod.Exec(t, "nft delete table ip tidelay")
	}
	before := kernelState(t, pod)
	var problem api.Problem
	a.into(http.MethodGet, api.PathLatency+"/20ms", http.StatusConflict, &problem)
	if !strings.Contains(problem.Detail, "somebody else") {
		t.Errorf("the detail does not say why: %s", problem.Detail)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		var answer api.Latency
		a.into(method, api.PathLatency, http.StatusOK, &answer)
		if answer.Fault != nil {
			t.Errorf("%s: a refused fault is reported: %+v", method, answer.Fault)
		}
	}
	if after := kernelState(t, pod); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// Somebody else's state inside ours is left alone, and faults end nevertheless: by
// request, one of several, and when their time is over.
func TestEndingWorksBesideForeignState(t *testing.T) {
	type state struct{ add, list, remove string }
	states := map[string]state{
		"a filter": {
			"tc filter add dev eth0 parent 7de1: protocol ip prio 99 u32 match u32 0 0 flowid 7de1:1",
			"tc filter show dev eth0 | grep 'pref 99'", "tc filter del dev eth0 parent 7de1: protocol ip prio 99",
		},
		"a qdisc": {
			"tc qdisc add dev eth0 parent 7de1:9 handle 9: pfifo",
			"tc qdisc show dev eth0 | grep 'pfifo 9:'", "tc qdisc del dev eth0 parent 7de1:9 handle 9:",
		},
	}
	if engineName == "nfqueue" {
		states = map[string]state{
			"a rule": {
				"nft add rule ip tidelay postrouting counter comment theirs", "nft list table ip tidelay | grep theirs",
				"nft delete rule ip tidelay postrouting handle $(nft -a list table ip tidelay | sed -n 's/.*theirs.*handle //p')",
			},
			"a chain": {"nft add chain ip tidelay theirs", "nft list chain ip tidelay theirs", "nft delete chain ip tidelay theirs"},
		}
	}
	for name, foreign := range states {
		t.Run(name, func(t *testing.T) {
			a := startAgent(t)
			l := a.lab
			const delay = 300 * time.Millisecond
			a.apply(
				api.Fault{Name: "slow", Peers: []string{l.node.IP}, Delay: delay.String(), Rate: &api.Rate{PerSecond: "1mbit"}},
				api.Fault{Name: "short", Peers: []string{l.node.IP6}, Delay: delay.String(), Duration: "8s"},
				api.Fault{Name: "cut", Direction: "both", Peers: []string{l.bystander.IP, l.bystander.IP6}, Partition: true})
			l.pod.Shell(t, foreign.add)
			undo := sync.OnceFunc(func() { l.pod.Shell(t, foreign.remove) })
			defer undo()
			a.wantStatus("a new fault", http.MethodPut, api.PathFaults+"/new", `{"delay":"1ms","peers":["10.0.0.1"]}`, http.StatusConflict)

			wantPing := func(from *netlab.Host, to string, least, most time.Duration) {
				t.Helper()
				if p := from.Ping(t, to, 5, 50*time.Millisecond); p.Received != p.Sent || p.Least < least || p.Most > most {
					t.Errorf("ping %s from %s: %d of %d answered, after %s to %s", to, from.Name, p.Received, p.Sent, p.Least, p.Most)
				}
			}
			wantPing(l.node, l.pod.IP, delay, time.Second)
			if status := a.status(); len(status.Faults) != 3 || !strings.Contains(strings.Join(status.Warnings, "\n"), "somebody else") {
				t.Errorf("faults %+v, warnings %q", status.Faults, status.Warnings)
			}
			a.wantStatus("the end of one fault", http.MethodDelete, api.PathFaults+"/slow", "", http.StatusOK)
			wantPing(l.node, l.pod.IP, 0, prompt)
			if l.bystander.Connects(t, net.JoinHostPort(l.pod.IP, "9999"), 300*time.Millisecond) {
				t.Error("the partition has ended too")
			}
			netlab.Eventually(t, 20*time.Second, "the short fault ends", func() error {
				if p := l.node.Ping(t, l.pod.IP6, 1, time.Second); p.Received != 1 || p.Most > prompt {
					return fmt.Errorf("ping: %+v", p)
				}
				return nil
			})
			a.wantStatus("the end of all faults", http.MethodDelete, api.PathFaults, "", http.StatusOK)
			a.wantStatus("the same again", http.MethodDelete, api.PathFaults, "", http.StatusOK)
			a.wantStatus("and by the short way", http.MethodGet, api.PathLatency+"/0", "", http.StatusOK)
			for _, ip := range []string{l.pod.IP, l.pod.IP6} {
				wantPing(l.bystander, ip, 0, prompt)
				wantPing(l.node, ip, 0, prompt)
			}
			l.pod.Shell(t, foreign.list)
			undo()
			a.set(delay.String())
			wantPing(l.node, l.pod.IP, delay, delay+prompt)
		})
	}
}

// The agent stays up to say why it can do nothing.
func TestNoInterface(t *testing.T) {
	netlab.EngineIndependent(t)
	for name, args := range map[string][]string{
		"loopback": {"--device=lo"},
		"no name":  {"--device=eth0,,net1"},
	} {
		t.Run(name, func(t *testing.T) {
			a := startAgent(t, args...)
			var problem api.Problem
			a.into(http.MethodGet, api.PathLatency+"/20ms", http.StatusNotImplemented, &problem)
			if !strings.Contains(problem.Detail, "--device") {
				t.Errorf("the detail does not name the flag: %s", problem.Detail)
			}
			if status, body, err := a.request(api.PathReadyz); err != nil || status != http.StatusServiceUnavailable {
				t.Errorf("readyz: %d %s %v", status, body, err)
			}
			if status, body, err := a.request(api.PathHealthz); err != nil || status != http.StatusOK {
				t.Errorf("healthz: %d %s %v", status, body, err)
			}
			if status := a.status(); len(status.Devices) > 0 || !strings.Contains(strings.Join(status.Warnings, "\n"), "--device") {
				t.Errorf("status: devices %v, warnings %q", status.Devices, status.Warnings)
			}
			a.clear() // there is nothing to end
		})
	}
}

func TestStatusAndMetricsSayWhatTheKernelCounts(t *testing.T) {
	a := freshAgent(t)
	l := a.lab
	if held := a.status().Faults; len(held) != 0 {
		t.Fatalf("faults before any was set: %+v", held)
	}
	a.set("20ms")
	l.node.Ping(t, l.pod.IP, 10, interval)
	_, body, err := a.request(api.PathStatus)
	if err != nil {
		t.Fatal(err)
	}
	var status api.Status
	if err := json.Unmarshal(body, &status); err != nil {
		t.Fatal(err)
	}
	if status.Engine != engineName || status.Reason == "" || len(status.Devices) != 1 || status.Devices[0].Name != "eth0" ||
		!status.Capabilities[engineName].Available || len(status.Faults) != 1 {
		t.Fatalf("status %s", body)
	}
	if c := status.Faults[0].Counters; c.Packets < 10 || c.Bytes < 10*84 || c.Dropped != 0 || c.Overlimits != 0 {
		t.Errorf("counters after 10 pings: %+v", c)
	}
	_, metrics, err := a.request(api.PathMetrics)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`tidelay_fault_delay_seconds{fault="latency"} 0.02`,
		`tidelay_fault_held{fault="latency"} 1`,
		`tidelay_agent_requests_total{method="GET",reason="ok",route="/latency/:delay"} 1`,
		`tidelay_fault_packets_total{device="eth0",direction="egress",fault="latency"}`,
		`engine="` + engineName + `"`,
	} {
		if !strings.Contains(string(metrics), line) {
			t.Errorf("metrics lack %s:\n%s", line, metrics)
		}
	}
	if status, body, err := a.request(api.PathReadyz); err != nil || status != http.StatusOK || !strings.Contains(string(body), engineName) {
		t.Errorf("readyz: %d %s %v", status, body, err)
	}
}
