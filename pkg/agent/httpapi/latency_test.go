package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
)

func TestLatencyRoutes(t *testing.T) {
	s := newTestServer(t, &enginetest.Engine{})
	var got api.Latency
	set := s.get("/latency/20")
	decodeInto(t, set, &got)
	want := api.Latency{
		Fault:    &api.Fault{Name: "latency", Direction: "egress", Delay: "20ms"},
		Engine:   "netem",
		Devices:  []string{"eth0"},
		RTT:      "+20ms",
		TC:       "tc qdisc replace dev eth0 root netem delay 20ms",
		Meaning:  got.Meaning,
		Warnings: []string{},
	}
	if diff := cmp.Diff(want, got); set.StatusCode != http.StatusOK || diff != "" {
		t.Errorf("set: status %d (-want +got):\n%s", set.StatusCode, diff)
	}
	if !strings.Contains(got.Meaning, "one way") || !strings.Contains(got.Meaning, "20ms") {
		t.Errorf("meaning %q", got.Meaning)
	}
	var read api.Latency
	decodeInto(t, s.get("/latency"), &read)
	if diff := cmp.Diff(got, read); diff != "" {
		t.Errorf("a read differs from the answer to the set:\n%s", diff)
	}
	body := text(t, s.do(http.MethodDelete, "/latency", ""))
	if !strings.Contains(body, `"fault":null`) || !strings.Contains(body, `"expiresAt":null`) {
		t.Errorf("clear: %s", body)
	}
}

func TestLatencyTakesTheRestInTheQuery(t *testing.T) {
	s := newTestServer(t, &enginetest.Engine{})
	var got api.Latency
	decodeInto(t, s.get("/latency/20ms?jitter=5ms&correlation=25&distribution=normal&direction=both&duration=1m"), &got)
	if got.Fault == nil || got.ExpiresAt == nil || got.Fault.ExpiresAt != *got.ExpiresAt {
		t.Fatalf("answer %+v", got)
	}
	if ends, err := time.Parse(time.RFC3339Nano, *got.ExpiresAt); err != nil || time.Until(ends) > time.Minute || time.Until(ends) < 50*time.Second {
		t.Errorf("expires at %s (%v), want in a minute", *got.ExpiresAt, err)
	}
	got.Fault.ExpiresAt = ""
	want := api.Fault{Name: "latency", Direction: "both", Delay: "20ms", Jitter: "5ms", Correlation: 25, Distribution: "normal"}
	if diff := cmp.Diff(want, *got.Fault); diff != "" || got.RTT != "+40ms±10ms" {
		t.Errorf("RTT %s, fault (-want +got):\n%s", got.RTT, diff)
	}
}

// Somebody deleted the qdisc: the fault is wanted, and a read does not claim
// that it is there.
func TestAReadClaimsNoMoreThanTheKernelHolds(t *testing.T) {
	e := &enginetest.Engine{}
	s := newTestServer(t, e)
	s.get("/latency/20ms")
	e.Set(func(k *enginetest.Kernel) { k.Faults = nil })
	var got api.Latency
	decodeInto(t, s.get("/latency"), &got)
	if got.Fault != nil || !strings.Contains(got.Meaning, "does not hold it") {
		t.Errorf("answer %+v", got)
	}
	var status api.Status
	decodeInto(t, s.get("/v1/status"), &status)
	if len(status.Faults) != 1 || status.Faults[0].Held || !strings.Contains(strings.Join(status.Warnings, ""), "no latency there") {
		t.Errorf("status %+v", status)
	}
	if metrics := text(t, s.get("/metrics")); !strings.Contains(metrics, `tidelay_fault_held{fault="latency"} 0`) {
		t.Errorf("metrics:\n%s", metrics)
	}
}
