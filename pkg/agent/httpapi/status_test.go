package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/agent/httpapi"
)

func TestStatusShowsWhatTheKernelHolds(t *testing.T) {
	e := enginetest.New(enginetest.Kernel{Counters: api.Counters{Packets: 3, Bytes: 300, Dropped: 1}})
	s := newTestServer(t, e, func(c *httpapi.Config) {
		c.Engine = engine(api.EngineNFQueue, "because")
		c.Warnings = func() []string { return []string{"can't serve on tcp6"} }
	})
	s.get("/latency/1.5ms")
	var got api.Status
	decodeInto(t, s.get("/v1/status"), &got)
	want := api.Status{
		Engine:       "nfqueue",
		Reason:       "because",
		Capabilities: map[string]api.Capability{"nfqueue": {Available: true}},
		Devices:      []api.Device{{Name: "eth0", Index: 7}},
		Faults: []api.FaultStatus{{
			Fault:    api.Fault{Name: "latency", Direction: "egress", Delay: "1.5ms"},
			Held:     true,
			Counters: api.Counters{Packets: 3, Bytes: 300, Dropped: 1},
		}},
		Exempt:   got.Exempt,
		Warnings: got.Warnings,
		Version:  "v1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if exempt := strings.Join(got.Exempt, "\n"); !strings.Contains(exempt, "2332") || !strings.Contains(exempt, "ARP") {
		t.Errorf("exempt:\n%s", exempt)
	}
	if len(got.Warnings) != 2 || !strings.Contains(got.Warnings[0], "1 packets were dropped though no loss was asked for") || got.Warnings[1] != "can't serve on tcp6" {
		t.Errorf("warnings %q", got.Warnings)
	}
}

// An agent that can change nothing is not ready, so that the controller tells it.
func TestNotReadyWhileTheFaultsAreUnknown(t *testing.T) {
	s := newTestServer(t, &enginetest.Engine{}, func(c *httpapi.Config) { c.Control = unknowing(t) })
	if response := s.get(api.PathReadyz); response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text(t, response), "not known") {
		t.Errorf("status %d", response.StatusCode)
	}
}
