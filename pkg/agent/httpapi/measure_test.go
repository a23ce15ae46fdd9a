package httpapi_test

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/agent/httpapi"
	"github.com/tidelay/tidelay/pkg/agent/measure"
)

// answered is a measurement whose samples all took so many milliseconds.
func answered(target string, ms float64) []api.Measurement {
	return []api.Measurement{{Target: target, Protocol: "icmp", Sent: 1, Received: 1, Samples: []float64{ms}, Min: &ms, Median: &ms, P99: &ms}}
}

func TestVerifyComparesWhatWasAskedWithWhatIsMeasured(t *testing.T) {
	for name, c := range map[string]struct {
		path, body string
		after      float64
		asked      float64
		verdict    string
	}{
		"as asked":           {"/latency/20ms?verify=true&peer=10.0.0.1", "", 21.2, 20, "agrees with"},
		"both ways":          {"/latency/20ms?direction=both&verify=true&peer=10.0.0.1", "", 41.2, 40, "agrees with"},
		"not as asked":       {"/latency/20ms?verify=true&peer=10.0.0.1", "", 1.1, 20, "DIFFERS from"},
		"not to the peer":    {"/v1/faults/a?verify=true&peer=10.0.0.1", `{"peers":["10.0.0.2"],"delay":"20ms"}`, 1.1, 0, "agrees with"},
		"to the peer's port": {"/v1/faults/a?verify=true&peer=10.0.0.1:20160", `{"ports":{"remote":[20160]},"delay":"20ms"}`, 21, 20, "agrees with"},
		"the control port":   {"/latency/20ms?verify=true&peer=10.0.0.1:2332", "", 1, 0, "agrees with"},
	} {
		t.Run(name, func(t *testing.T) {
			e := &enginetest.Engine{}
			s := newTestServer(t, e, func(config *httpapi.Config) {
				config.Measure = func(_ context.Context, p measure.Plan) []api.Measurement {
					if len(e.Get().Faults) == 0 {
						return answered(p.Targets[0].String(), 1)
					}
					return answered(p.Targets[0].String(), c.after)
				}
			})
			method := "GET"
			if c.body != "" {
				method = "PUT"
			}
			var got struct{ Verified *api.Verified }
			decodeInto(t, s.do(method, c.path, c.body), &got)
			if v := got.Verified; v == nil || v.AskedRTT != c.asked || v.MeasuredRTT == nil || !strings.Contains(v.Verdict, c.verdict) {
				t.Errorf("verified %+v", v)
			}
		})
	}
}

// What is asked for is that of the interface by which the peer is reached.
func TestVerifyFollowsTheRoute(t *testing.T) {
	routes := map[string]string{"10.0.0.1": "eth0", "10.1.0.1": "net1", "fd01::1": "net1", "10.2.0.1": "net2"}
	for name, c := range map[string]struct {
		peer, body string
		asked      float64
	}{
		"the first interface":             {"10.0.0.1", `{"device":"eth0","delay":"20ms"}`, 20},
		"the second one":                  {"10.1.0.1", `{"device":"net1","delay":"20ms"}`, 20},
		"the second one, IPv6":            {"fd01::1", `{"device":"net1","delay":"20ms"}`, 20},
		"another one than the fault's":    {"10.1.0.1", `{"device":"eth0","delay":"20ms"}`, 0},
		"all interfaces":                  {"10.1.0.1", `{"delay":"20ms"}`, 20},
		"one that is none of the agent's": {"10.2.0.1", `{"delay":"20ms"}`, 0},
	} {
		s := newTestServer(t, &enginetest.Engine{}, func(config *httpapi.Config) {
			config.Devices = func() ([]api.Device, error) {
				return []api.Device{{Name: "eth0", Index: 7}, {Name: "net1", Index: 8}}, nil
			}
			config.DeviceTo = func(to netip.Addr) (string, error) { return routes[to.String()], nil }
			config.Measure = func(_ context.Context, p measure.Plan) []api.Measurement {
				return answered(p.Targets[0].String(), 1)
			}
		})
		var got struct{ Verified *api.Verified }
		decodeInto(t, s.do("PUT", "/v1/faults/a?verify=true&peer="+c.peer, c.body), &got)
		if got.Verified == nil || got.Verified.AskedRTT != c.asked {
			t.Errorf("%s: verified %+v, want %v ms asked for", name, got.Verified, c.asked)
		}
	}
}

func TestAPeerWithoutARouteIsRefused(t *testing.T) {
	e := &enginetest.Engine{}
	s := newTestServer(t, e, func(c *httpapi.Config) {
		c.DeviceTo = func(netip.Addr) (string, error) { return "", errors.New("network is unreachable") }
	})
	response := s.do("GET", "/latency/20ms?verify=true&peer=10.0.0.1", "")
	if response.StatusCode != http.StatusBadRequest || len(e.Get().Faults) > 0 {
		t.Errorf("status %d, and the kernel holds %v", response.StatusCode, e.Get().Faults)
	}
}

func TestOneMeasurementAtATime(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	s := newTestServer(t, &enginetest.Engine{}, func(c *httpapi.Config) {
		c.Measure = func(context.Context, measure.Plan) []api.Measurement {
			started <- struct{}{}
			<-release
			return nil
		}
	})
	measureOnce := func() {
		if response := s.do("POST", "/v1/measure", `{"targets":["10.0.0.1"]}`); response.StatusCode != http.StatusOK {
			t.Errorf("alone: status %d", response.StatusCode)
		}
	}
	for range 2 { // the second one can begin because the first one ended
		var group sync.WaitGroup
		group.Go(measureOnce)
		<-started
		for path, method := range map[string]string{"/v1/measure": "POST", "/latency/1ms?verify=true&peer=10.0.0.1": "GET"} {
			if response := s.do(method, path, `{"targets":["10.0.0.1"]}`); response.StatusCode != http.StatusTooManyRequests {
				t.Errorf("%s beside another: status %d", path, response.StatusCode)
			}
		}
		release <- struct{}{}
		group.Wait()
	}
}
