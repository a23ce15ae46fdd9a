package httpapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/agent/httpapi"
)

const (
	oldPod = "5f0e4c9a-6f0b-4c55-9d51-0d6a2d3f7b10"
	newPod = "0b0e6d53-93a6-4a3e-8a5e-52f3c6f0a1de"
)

func inPod(uid string) func(*httpapi.Config) {
	return func(c *httpapi.Config) { c.PodUID = uid }
}

// A request for the pod that had the address before changes nothing in the one that
// has it now, and reads nothing there.
func TestRequestsForAnotherPodAreRefused(t *testing.T) {
	e := &enginetest.Engine{}
	s := newTestServer(t, e, inPod(newPod))
	actions(t, s.do("PUT", "/v1/faults", `{"faults":[`+byHand+`]}`, api.HeaderPod, newPod))
	before, applied := s.Control.Desired().Revision, e.Get().Applied
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/latency", ""},
		{"GET", "/latency/20ms", ""},
		{"GET", "/latency/0", ""},
		{"HEAD", "/latency/20ms", ""},
		{"DELETE", "/latency", ""},
		{"GET", "/v1/faults", ""},
		{"PUT", "/v1/faults", `{"faults":[]}`},
		{"PUT", "/v1/faults?owner=shop", ofShop},
		{"DELETE", "/v1/faults", ""},
		{"PUT", "/v1/faults/a", `{"delay":"1ms"}`},
		{"DELETE", "/v1/faults/hand", ""},
		{"POST", "/v1/measure", `{"targets":["127.0.0.1"]}`},
		{"GET", "/v1/status", ""},
		{"GET", "/metrics", ""},
		{"GET", "/openapi.json", ""},
		{"GET", "/nowhere", ""},
		{"POST", "/latency", ""},
	} {
		response := s.do(c.method, c.path, c.body, api.HeaderPod, oldPod)
		if response.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("%s %s: status %d, want 421", c.method, c.path, response.StatusCode)
		}
		if c.method == http.MethodHead {
			continue
		}
		var problem api.Problem
		decodeInto(t, response, &problem)
		if problem.Status != http.StatusMisdirectedRequest || !strings.Contains(problem.Detail, oldPod) || !strings.Contains(problem.Detail, newPod) {
			t.Errorf("%s %s: problem %+v, want one that names both pods", c.method, c.path, problem)
		}
	}
	if after := s.Control.Desired().Revision; after != before || e.Get().Applied != applied {
		t.Errorf("the faults are at %s after %s, and were applied %d times after %d", after, before, e.Get().Applied, applied)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if response := s.do("GET", path, "", api.HeaderPod, oldPod); response.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", path, response.StatusCode)
		}
	}
}

// The UID decides only where both sides know it.
func TestTheHeaderMeetsTheUIDOfThePod(t *testing.T) {
	for what, c := range map[string]struct {
		own    string
		header []string
		want   int
	}{
		"the right pod":                   {newPod, []string{newPod}, 200},
		"any pod":                         {newPod, nil, 200},
		"another pod":                     {newPod, []string{oldPod}, 421},
		"a part of the UID":               {newPod, []string{newPod[:8]}, 421},
		"another case":                    {newPod, []string{strings.ToUpper(newPod)}, 421},
		"an agent without a UID":          {"", []string{oldPod}, 200},
		"an agent without a UID, nothing": {"", []string{""}, 400},
		"nothing":                         {newPod, []string{""}, 400},
		"twice":                           {newPod, []string{newPod, newPod}, 400},
		"twice in one":                    {newPod, []string{newPod + "," + newPod}, 400},
		"the longest":                     {newPod, []string{strings.Repeat("a", 64)}, 421},
		"too long":                        {newPod, []string{strings.Repeat("a", 65)}, 400},
		"what no UID has":                 {newPod, []string{"basic/tikv"}, 400},
	} {
		e := &enginetest.Engine{}
		s := newTestServer(t, e, inPod(c.own))
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/latency/20ms", nil)
		for _, value := range c.header {
			request.Header.Add(api.HeaderPod, value)
		}
		answer := httptest.NewRecorder()
		s.handler.ServeHTTP(answer, request)
		response := answer.Result()
		if response.StatusCode != c.want || (len(e.Get().Faults) == 1) != (c.want == 200) {
			t.Errorf("%s: status %d, want %d; the kernel has %d faults", what, response.StatusCode, c.want, len(e.Get().Faults))
		}
		if c.want != http.StatusBadRequest {
			continue
		}
		var problem api.Problem
		decodeInto(t, response, &problem)
		if len(problem.Errors) != 1 || problem.Errors[0].Field != "header "+api.HeaderPod || !strings.Contains(problem.Errors[0].Accepted, "once") || len(problem.Errors[0].Value) > api.MaxEcho+3 {
			t.Errorf("%s: problem %+v, want one that names the header", what, problem)
		}
	}
}

// Nobody learns a pod's UID without its token, and a read-only agent says first that
// it is not the one that is meant.
func TestTheTokenComesBeforeThePod(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newTestServer(t, &enginetest.Engine{}, inPod(newPod), func(c *httpapi.Config) { c.TokenFile, c.ReadOnly = file, true })
	for _, c := range []struct {
		token, pod string
		want       int
	}{
		{"public", oldPod, 401},
		{"public", newPod, 401},
		{"public", "", 401},
		{"secret", oldPod, 421},
		{"secret", "", 400},
		{"secret", newPod, 403},
	} {
		response := s.do("DELETE", "/v1/faults", "", api.HeaderToken, c.token, api.HeaderPod, c.pod)
		body := text(t, response)
		if response.StatusCode != c.want || strings.Contains(body, newPod) != (c.want == 421) {
			t.Errorf("token %s, pod %q: status %d, want %d: %s", c.token, c.pod, response.StatusCode, c.want, body)
		}
	}
}

// The largest set that a client sends is refused like a small one, and the outcome is
// counted by its reason.
func TestTheClientIsToldOfAnotherPod(t *testing.T) {
	e := &enginetest.Engine{}
	s := newTestServer(t, e, inPod(newPod))
	faults := make([]api.Fault, 7) // of 512 peers; there may be 4000 of both together
	for i := range faults {
		faults[i] = api.Fault{Name: string(rune('a' + i)), Delay: "1ms", Peers: make([]string, 512)}
		for j := range faults[i].Peers {
			faults[i].Peers[j] = fmt.Sprintf("fd00:1234:5678:%x::%x", i, j)
		}
	}
	for _, uid := range []string{oldPod, newPod} {
		agent, err := client.New(s.url, client.Options{PodUID: uid})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(agent.CloseIdleConnections)
		_, err = agent.ReplaceOwned(t.Context(), "shop", faults)
		if held := len(e.Get().Faults); uid == oldPod && (refusal(err).Status != 421 || held != 0) || uid == newPod && (err != nil || held != len(faults)) {
			t.Errorf("for pod %s in pod %s: %v; the kernel has %d faults", uid, newPod, err, held)
		}
	}
	expected := `
		# HELP tidelay_agent_requests_total HTTP requests, by method, route and the reason of their outcome.
		# TYPE tidelay_agent_requests_total counter
		tidelay_agent_requests_total{method="PUT",reason="misdirected",route="/v1/faults"} 1
		tidelay_agent_requests_total{method="PUT",reason="ok",route="/v1/faults"} 1
	`
	if err := testutil.GatherAndCompare(s.Registry, strings.NewReader(expected), "tidelay_agent_requests_total"); err != nil {
		t.Error(err)
	}
}
