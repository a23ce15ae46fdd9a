package agent

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/measure"
	"github.com/tidelay/tidelay/pkg/fault"
)

// actions is what a change did, "name action" each.
func actions(t *testing.T, response *http.Response) string {
	t.Helper()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", response.StatusCode, text(t, response))
	}
	var got api.Changes
	decodeInto(t, response, &got)
	var all []string
	for _, change := range got.Changes {
		all = append(all, change.Name+" "+change.Action)
		if change.Meaning == "" {
			t.Errorf("%s has no meaning", change.Name)
		}
	}
	return strings.Join(all, ", ")
}

func TestFaultsAreReplacedAsAWhole(t *testing.T) {
	e := &fakeEngine{}
	s := newTestServer(t, e, api.EngineNetem)
	const two = `{"faults":[{"name":"b","peers":["10.0.0.2"],"delay":"2ms"},{"name":"a","peers":["10.0.0.1"],"loss":{"percent":5}}]}`
	if got := actions(t, s.do("PUT", "/v1/faults", two)); got != "a add, b add" {
		t.Errorf("first: %s", got)
	}
	if got := actions(t, s.do("PUT", "/v1/faults", two)); got != "a keep, b keep" {
		t.Errorf("again: %s", got)
	}
	if got := actions(t, s.do("PUT", "/v1/faults/b", `{"peers":["10.0.0.2"],"delay":"3ms"}`)); got != "a keep, b change" {
		t.Errorf("one: %s", got)
	}
	if got := actions(t, s.do("DELETE", "/v1/faults/a", "")); got != "a remove, b keep" {
		t.Errorf("delete: %s", got)
	}
	var one api.Fault
	decodeInto(t, s.get("/v1/faults/b"), &one)
	if diff := cmp.Diff(api.Fault{Name: "b", Direction: "egress", Peers: []string{"10.0.0.2"}, Delay: "3ms"}, one); diff != "" {
		t.Error(diff)
	}
	if got := actions(t, s.do("PUT", "/v1/faults", `{"faults":[]}`)); got != "b remove" || len(e.holds()) != 0 {
		t.Errorf("none: %s, holds %+v", got, e.holds())
	}
}

// What is read can be written back and is the same.
func TestWhatIsReadCanBeWrittenBack(t *testing.T) {
	s := newTestServer(t, &fakeEngine{}, api.EngineNetem)
	actions(t, s.do("PUT", "/v1/faults", `{"faults":[{"name":"a","ports":{"remote":[1,"2-3"]},"delay":"20ms","jitter":"1ms","duration":"1h"}]}`))
	read := s.get("/v1/faults")
	tag := read.Header.Get("ETag")
	if got := actions(t, s.do("PUT", "/v1/faults", text(t, read), "If-Match", tag)); got != "a keep" {
		t.Errorf("written back: %s", got)
	}
}

func TestTwoOperatorsDoNotOverwriteEachOther(t *testing.T) {
	e := &fakeEngine{}
	s := newTestServer(t, e, api.EngineNetem)
	tag := s.get("/v1/faults").Header.Get("ETag")
	first := s.do("PUT", "/v1/faults/a", `{"delay":"1ms"}`, "If-Match", tag)
	if first.StatusCode != http.StatusOK || first.Header.Get("ETag") == tag {
		t.Fatalf("first: status %d, ETag %s after %s", first.StatusCode, first.Header.Get("ETag"), tag)
	}
	for _, c := range []struct{ method, path, body string }{
		{"PUT", "/v1/faults/a", `{"delay":"2ms"}`},
		{"PUT", "/v1/faults", `{"faults":[]}`},
		{"DELETE", "/v1/faults/a", ""},
		{"GET", "/latency/5ms", ""},
		{"DELETE", "/latency", ""},
	} {
		if response := s.do(c.method, c.path, c.body, "If-Match", tag); response.StatusCode != http.StatusPreconditionFailed {
			t.Errorf("%s %s on an old ETag: status %d", c.method, c.path, response.StatusCode)
		}
	}
	if response := s.do("PUT", "/v1/faults/a", `{"delay":"2ms"}`, "If-Match", "*"); response.StatusCode != http.StatusOK {
		t.Errorf("If-Match *: status %d", response.StatusCode)
	}
	if held := e.holds(); len(held) != 1 || held[0].Impairment.Delay != 2*time.Millisecond {
		t.Errorf("holds %+v", held)
	}
}

func TestADryRunOverHTTP(t *testing.T) {
	e := &fakeEngine{}
	s := newTestServer(t, e, api.EngineNetem)
	var got api.Changes
	decodeInto(t, s.do("PUT", "/v1/faults/a?dryRun=true", `{"delay":"1ms"}`), &got)
	if got.Applied || len(got.Changes) != 1 || len(got.Faults) != 1 || e.applied != 0 {
		t.Errorf("applied %d times: %+v", e.applied, got)
	}
	var latency api.Latency
	decodeInto(t, s.get("/latency/20ms?dryRun=true"), &latency)
	if !strings.HasPrefix(latency.Meaning, "dry run") || latency.TC == "" || e.applied != 0 {
		t.Errorf("applied %d times: %+v", e.applied, latency)
	}
}

func TestConcurrentChangesAllCount(t *testing.T) {
	e := &fakeEngine{}
	s := newTestServer(t, e, api.EngineNetem)
	var group sync.WaitGroup
	for i := range 10 {
		group.Go(func() {
			response := s.do("PUT", fmt.Sprintf("/v1/faults/f%d", i), fmt.Sprintf(`{"peers":["10.0.0.%d"],"delay":"1ms"}`, i+1))
			if response.StatusCode != http.StatusOK {
				t.Errorf("%d: status %d", i, response.StatusCode)
			}
		})
	}
	group.Wait()
	if len(e.holds()) != 10 {
		t.Errorf("holds %s", names(e.holds()))
	}
}

func TestTheTokenGuardsEverythingButHealth(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(content string) {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newTestServer(t, &fakeEngine{}, api.EngineNetem)
	s.guard.tokenFile = file
	for _, c := range []struct {
		what, token, header string
		want                int
	}{
		{"no file", "", "", 401},
		{"an empty file", "\n", "Bearer ", 401},
		{"no header", "secret\n", "", 401},
		{"the wrong token", "secret\n", "Bearer public", 401},
		{"a part of it", "secret\n", "Bearer secre", 401},
		{"another scheme", "secret\n", "Basic secret", 401},
		{"the token", "secret\n", "Bearer secret", 200},
		{"a scheme in lower case", "secret", "bearer secret", 200},
		{"the old token", "rotated", "Bearer secret", 401},
		{"the new token", "rotated", "Bearer rotated", 200},
	} {
		if c.token != "" {
			write(c.token)
		}
		for _, path := range []string{"/latency", "/latency/20ms", "/v1/status", "/v1/faults", "/metrics", "/openapi.json"} {
			response := s.do("GET", path, "", "Authorization", c.header)
			if response.StatusCode != c.want || c.want == 401 && response.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s: %s: status %d, want %d", c.what, path, response.StatusCode, c.want)
			}
		}
		if response := s.do("GET", "/nowhere", "", "Authorization", c.header); c.want == 401 && response.StatusCode != 401 {
			t.Errorf("%s: a route that is not there: status %d", c.what, response.StatusCode)
		}
		for _, path := range []string{"/healthz", "/readyz"} {
			if response := s.get(path); response.StatusCode != http.StatusOK {
				t.Errorf("%s: %s: status %d", c.what, path, response.StatusCode)
			}
		}
	}
}

func TestReadOnly(t *testing.T) {
	e := &fakeEngine{}
	s := newTestServer(t, e, api.EngineNetem)
	s.guard.readOnly = true
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/latency/20ms", "", 403},
		{"GET", "/latency/", "", 403},
		{"GET", "/latency/20ms?dryRun=true", "", 403},
		{"DELETE", "/latency", "", 403},
		{"PUT", "/v1/faults", `{"faults":[]}`, 403},
		{"PUT", "/v1/faults/a", `{"delay":"1ms"}`, 403},
		{"DELETE", "/v1/faults/a", "", 403},
		{"GET", "/latency", "", 200},
		{"GET", "/v1/faults", "", 200},
		{"GET", "/v1/status", "", 200},
		{"POST", "/v1/measure", `{"targets":["127.0.0.1"]}`, 200},
	} {
		if response := s.do(c.method, c.path, c.body); response.StatusCode != c.want {
			t.Errorf("%s %s: status %d, want %d", c.method, c.path, response.StatusCode, c.want)
		}
	}
	if e.applied != 0 {
		t.Errorf("applied %d times", e.applied)
	}
}

func TestRequestsAreLimited(t *testing.T) {
	s := newTestServer(t, &fakeEngine{}, api.EngineNetem)
	s.guard.limiter.SetBurst(3)
	refused := 0
	for range 10 {
		if response := s.get("/latency"); response.StatusCode == http.StatusTooManyRequests && response.Header.Get("Retry-After") != "" {
			refused++
		}
	}
	if refused == 0 {
		t.Error("ten requests at once with a burst of three: none refused")
	}
	if response := s.get("/healthz"); response.StatusCode != http.StatusOK {
		t.Errorf("health: status %d", response.StatusCode)
	}
}

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
			e := &fakeEngine{}
			s := newTestServer(t, e, api.EngineNetem)
			s.measurer.run = func(_ context.Context, p measure.Plan) []api.Measurement {
				if len(e.holds()) == 0 {
					return answered(p.Targets[0].String(), 1)
				}
				return answered(p.Targets[0].String(), c.after)
			}
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
	s := newTestServer(t, &fakeEngine{}, api.EngineNetem)
	end, err := s.measurer.begin()
	if err != nil {
		t.Fatal(err)
	}
	for path, method := range map[string]string{"/v1/measure": "POST", "/latency/1ms?verify=true&peer=10.0.0.1": "GET"} {
		if response := s.do(method, path, `{"targets":["10.0.0.1"]}`); response.StatusCode != http.StatusTooManyRequests {
			t.Errorf("%s beside another: status %d", path, response.StatusCode)
		}
	}
	end()
	if response := s.do("POST", "/v1/measure", `{"targets":["10.0.0.1"]}`); response.StatusCode != http.StatusOK {
		t.Errorf("after it: status %d", response.StatusCode)
	}
}

func TestWordsOfAFault(t *testing.T) {
	parsed := func(f api.Fault) fault.Fault {
		got, err := fault.Parse(f, fault.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for want, f := range map[string]api.Fault{
		"every packet that leaves eth0 is 20ms late, one way; ping and one TCP connect": {Name: "a", Delay: "20ms"},
		"every TCP packet that leaves or arrives at eth0 with the peer 10.0.0.1 or 10.1.0.0/16 with the remote port 20160 is lost with a chance of 5%": {
			Name: "a", Direction: "both", Protocol: "tcp", Peers: []string{"10.0.0.1", "10.1.0.0/16"},
			Ports: &api.Ports{Remote: []api.PortRange{{First: 20160, Last: 20160}}}, Loss: &api.Loss{Percent: 5},
		},
		"every packet that arrives at eth0 is dropped":                                 {Name: "a", Direction: "ingress", Partition: true},
		"every packet that leaves eth0 shares a link of 10mbit per second":             {Name: "a", Rate: &api.Rate{PerSecond: "10mbit"}},
		"is 20ms late, one way, ±5ms (pareto)":                                         {Name: "a", Delay: "20ms", Jitter: "5ms", Distribution: "pareto"},
		"goes at once, ahead of others, with a chance of 25%, one packet in 5":         {Name: "a", Delay: "1ms", Reorder: &api.Reorder{Percent: 25, Gap: 5}},
		"is sent twice with a chance of 1%, has a bit flipped with a chance of 0.001%": {Name: "a", Duplicate: &api.Chance{Percent: 1}, Corrupt: &api.Chance{Percent: 0.001}},
	} {
		if got := explain(parsed(f), []string{"eth0"}); !strings.Contains(got, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
