package httpapi_test

import (
	"context"
	"net/http"
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
