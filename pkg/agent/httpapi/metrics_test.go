package httpapi_test

import (
	"strings"
	"testing"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
)

func TestMetrics(t *testing.T) {
	s := newTestServer(t, enginetest.New(enginetest.Kernel{Counters: api.Counters{Dropped: 1}}))
	if before := text(t, s.get("/metrics")); strings.Contains(before, "tidelay_fault_") || !strings.Contains(before, `tidelay_agent_info{engine="netem",version="v1"} 1`) {
		t.Errorf("metrics without a fault:\n%s", before)
	}
	s.get("/latency/20ms?duration=1h")
	s.get("/latency/abc")
	s.do("BREW", "/nowhere", "")
	after := text(t, s.get("/metrics"))
	for _, line := range []string{
		`tidelay_agent_requests_total{method="GET",reason="ok",route="/latency/:delay"} 1`,
		`tidelay_agent_requests_total{method="GET",reason="invalid",route="/latency/:delay"} 1`,
		`tidelay_agent_requests_total{method="other",reason="no_route",route="none"} 1`,
		`tidelay_agent_kernel_readable 1`,
		`tidelay_fault_held{fault="latency"} 1`,
		`tidelay_fault_delay_seconds{fault="latency"} 0.02`,
		`tidelay_fault_dropped_packets_total{device="eth0",direction="egress",fault="latency"} 1`,
	} {
		if !strings.Contains(after, line+"\n") {
			t.Errorf("metrics lack %s:\n%s", line, after)
		}
	}
	if !strings.Contains(after, "tidelay_fault_expiry_timestamp_seconds") {
		t.Errorf("metrics lack the expiry:\n%s", after)
	}
}
