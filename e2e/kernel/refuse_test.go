//go:build kernel

package kernel

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
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
	wantRTT(t, l.node, "after bad input", l.pod.IP, base+20*time.Millisecond)
}

// What somebody else made stays, byte for byte. A root qdisc of theirs is no
// fault of ours; a table of our name that is not ours makes even a read a
// conflict, because nobody can say what it does.
func TestForeignStateIsRefusedAndLeftAlone(t *testing.T) {
	a := startAgent(t)
	pod, wantRead := a.lab.pod, http.StatusOK
	switch engineName {
	case "netem":
		pod.Exec(t, "tc qdisc add dev eth0 root handle 1: tbf rate 1gbit burst 100k latency 50ms")
		defer pod.Exec(t, "tc qdisc del dev eth0 root")
	case "nfqueue":
		pod.Exec(t, "nft add table ip tidelay")
		pod.Exec(t, "nft add chain ip tidelay theirs")
		defer pod.Exec(t, "nft delete table ip tidelay")
		wantRead = http.StatusConflict
	}
	before := kernelState(t, pod)
	var problem api.Problem
	a.into(http.MethodGet, api.PathLatency+"/20ms", http.StatusConflict, &problem)
	if !strings.Contains(problem.Detail, "somebody else") {
		t.Errorf("the detail does not say why: %s", problem.Detail)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		var answer api.Latency
		a.into(method, api.PathLatency, wantRead, &answer)
		if answer.Fault != nil {
			t.Errorf("%s: a refused fault is reported: %+v", method, answer.Fault)
		}
	}
	if after := kernelState(t, pod); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
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
