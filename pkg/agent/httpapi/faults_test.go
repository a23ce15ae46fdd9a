package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
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
	e := &enginetest.Engine{}
	s := newTestServer(t, e)
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
	if got := actions(t, s.do("PUT", "/v1/faults", `{"faults":[]}`)); got != "b remove" || len(e.Get().Faults) != 0 {
		t.Errorf("none: %s, holds %+v", got, e.Get().Faults)
	}
}

// What is read can be written back and is the same.
func TestWhatIsReadCanBeWrittenBack(t *testing.T) {
	s := newTestServer(t, &enginetest.Engine{})
	actions(t, s.do("PUT", "/v1/faults", `{"faults":[{"name":"a","ports":{"remote":[1,"2-3"]},"delay":"20ms","jitter":"1ms","duration":"1h"}]}`))
	read := s.get("/v1/faults")
	tag := read.Header.Get("ETag")
	if got := actions(t, s.do("PUT", "/v1/faults", text(t, read), "If-Match", tag)); got != "a keep" {
		t.Errorf("written back: %s", got)
	}
}

func TestTwoOperatorsDoNotOverwriteEachOther(t *testing.T) {
	e := &enginetest.Engine{}
	s := newTestServer(t, e)
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
	for _, header := range []string{"", " ", ",", tag + ",", "*, " + tag} {
		if response := s.do("PUT", "/v1/faults/a", `{"delay":"2ms"}`, "If-Match", header); response.StatusCode != http.StatusBadRequest {
			t.Errorf("If-Match %q: status %d", header, response.StatusCode)
		}
	}
	if response := s.do("PUT", "/v1/faults/a", `{"delay":"2ms"}`, "If-Match", "*"); response.StatusCode != http.StatusOK {
		t.Errorf("If-Match *: status %d", response.StatusCode)
	}
	if faults := e.Get().Faults; len(faults) != 1 || faults[0].Impairment.Delay != 2*time.Millisecond {
		t.Errorf("the kernel has %+v", faults)
	}
}

func TestADryRunOverHTTP(t *testing.T) {
	e := &enginetest.Engine{}
	s := newTestServer(t, e)
	var got api.Changes
	decodeInto(t, s.do("PUT", "/v1/faults/a?dryRun=true", `{"delay":"1ms"}`), &got)
	if got.Applied || len(got.Changes) != 1 || len(got.Faults) != 1 || e.Get().Applied != 0 {
		t.Errorf("applied %d times: %+v", e.Get().Applied, got)
	}
	var latency api.Latency
	decodeInto(t, s.get("/latency/20ms?dryRun=true"), &latency)
	if !strings.HasPrefix(latency.Meaning, "dry run") || latency.TC == "" || e.Get().Applied != 0 {
		t.Errorf("applied %d times: %+v", e.Get().Applied, latency)
	}
}

func TestConcurrentChangesAllCount(t *testing.T) {
	e := &enginetest.Engine{}
	s := newTestServer(t, e)
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
	if len(e.Get().Faults) != 10 {
		t.Errorf("holds %q", fault.Names(e.Get().Faults))
	}
}
