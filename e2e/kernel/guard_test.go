//go:build kernel

package kernel

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// wantStatus asks and wants a status; everything but 200 has a problem's body.
func (a *agent) wantStatus(what, method, path, body string, want int, headers ...string) api.Problem {
	a.t.Helper()
	r, err := a.ask(method, path, body, headers...)
	if err != nil {
		a.t.Fatalf("%s: %s %s: %v", what, method, path, err)
	}
	var problem api.Problem
	if r.status != want {
		a.t.Errorf("%s: %s %s: status %d, want %d: %.300s", what, method, path, r.status, want, r.body)
	} else if want != http.StatusOK {
		if err := json.Unmarshal(r.body, &problem); err != nil || r.header.Get("Content-Type") != api.ContentTypeProblem || problem.Status != want || problem.Detail == "" {
			a.t.Errorf("%s: %s %s: no problem document: %v, %.300s", what, method, path, err, r.body)
		}
	}
	return problem
}

func TestTokenGuardsEveryRouteButHealth(t *testing.T) {
	netlab.EngineIndependent(t)
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first\n")
	a := startAgent(t, "--token-file="+file)
	routes := []string{api.PathLatency, api.PathLatency + "/1ms", api.PathFaults, api.PathStatus, api.PathMetrics, api.PathOpenAPI}
	all := func(what, header string, want int) {
		t.Helper()
		for _, route := range routes {
			a.wantStatus(what, http.MethodGet, route, "", want, "Authorization", header)
		}
		a.wantStatus(what, http.MethodPut, api.PathFaults, `{"faults":[]}`, want, "Authorization", header)
	}
	all("no token", "", http.StatusUnauthorized)
	all("a wrong token", "Bearer second", http.StatusUnauthorized)
	all("another scheme", "Basic first", http.StatusUnauthorized)
	all("the token", "Bearer first", http.StatusOK)
	write("second")
	all("the old token", "Bearer first", http.StatusUnauthorized)
	all("the new token", "Bearer second", http.StatusOK)
	for _, route := range []string{api.PathHealthz, api.PathReadyz} {
		a.wantStatus("health", http.MethodGet, route, "", http.StatusOK)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	all("a token without a file", "Bearer second", http.StatusUnauthorized)
	write("third")
	a.token = "third" // the clean-up clears with it
}

func TestReadOnlyRefusesChanges(t *testing.T) {
	netlab.EngineIndependent(t)
	a := startAgent(t, "--read-only")
	before := kernelState(t, a.lab.pod)
	for _, c := range []struct{ method, path, body string }{
		{http.MethodGet, api.PathLatency + "/1ms", ""},
		{http.MethodDelete, api.PathLatency, ""},
		{http.MethodPut, api.PathFaults, `{"faults":[{"name":"a","delay":"1ms"}]}`},
		{http.MethodPut, api.PathFaults + "/a", `{"delay":"1ms"}`},
		{http.MethodDelete, api.PathFaults + "/a", ""},
	} {
		problem := a.wantStatus("read-only", c.method, c.path, c.body, http.StatusForbidden)
		if !strings.Contains(problem.Detail, "--read-only") {
			t.Errorf("the detail does not name the flag: %s", problem.Detail)
		}
	}
	for _, route := range []string{api.PathLatency, api.PathFaults, api.PathStatus, api.PathMetrics, api.PathOpenAPI, api.PathReadyz} {
		a.wantStatus("read-only", http.MethodGet, route, "", http.StatusOK)
	}
	if after := kernelState(t, a.lab.pod); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// A request for the pod that had the address before changes nothing here.
func TestRequestsForAnotherPodChangeNothing(t *testing.T) {
	netlab.EngineIndependent(t)
	const uid, gone = "0b0e6d53-93a6-4a3e-8a5e-52f3c6f0a1de", "5f0e4c9a-6f0b-4c55-9d51-0d6a2d3f7b10"
	a := freshAgent(t)
	a.stop(syscall.SIGTERM)
	a.env = []string{"POD_UID=" + uid}
	a.start()
	a.wantStatus("the right pod", http.MethodGet, api.PathLatency+"/20ms", "", http.StatusOK, api.HeaderPod, uid)
	before := kernelState(t, a.lab.pod)
	for _, c := range []struct{ method, path, body string }{
		{http.MethodGet, api.PathLatency, ""},
		{http.MethodGet, api.PathLatency + "/1ms", ""},
		{http.MethodGet, api.PathLatency + "/0", ""},
		{http.MethodDelete, api.PathLatency, ""},
		{http.MethodPut, api.PathFaults, `{"faults":[{"name":"a","delay":"1ms"}]}`},
		{http.MethodPut, api.PathFaults + "/latency", `{"delay":"1ms"}`},
		{http.MethodDelete, api.PathFaults, ""},
		{http.MethodGet, api.PathStatus, ""},
	} {
		problem := a.wantStatus("another pod", c.method, c.path, c.body, http.StatusMisdirectedRequest, api.HeaderPod, gone)
		if !strings.Contains(problem.Detail, uid) || !strings.Contains(problem.Detail, gone) {
			t.Errorf("the detail does not name both pods: %s", problem.Detail)
		}
		a.wantStatus("no pod", c.method, c.path, c.body, http.StatusBadRequest, api.HeaderPod, "")
	}
	if after := kernelState(t, a.lab.pod); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if held := a.faults(); len(held) != 1 || held[0].Delay != "20ms" {
		t.Errorf("faults %+v", held)
	}
	a.wantStatus("health", http.MethodGet, api.PathHealthz, "", http.StatusOK, api.HeaderPod, gone)
	a.wantStatus("the right pod", http.MethodDelete, api.PathFaults, "", http.StatusOK, api.HeaderPod, uid)
	a.wantHeld(0)
}

func TestBodiesAreBoundedAndStrict(t *testing.T) {
	netlab.EngineIndependent(t)
	a := startAgent(t)
	a.set("20ms")
	before := kernelState(t, a.lab.pod)
	large := `{"faults":[{"name":"a","delay":"1ms","device":"` + strings.Repeat("x", 256<<10) + `"}]}`
	for _, c := range []struct {
		what, method, path, body string
		want                     int
		field                    string
	}{
		{"too large", http.MethodPut, api.PathFaults, large, http.StatusRequestEntityTooLarge, ""},
		{"an unknown field", http.MethodPut, api.PathFaults, `{"faults":[{"name":"a","dleay":"1ms"}]}`, http.StatusBadRequest, "dleay"},
		{"an unknown field inside", http.MethodPut, api.PathFaults + "/a", `{"loss":{"percentage":1}}`, http.StatusBadRequest, "percentage"},
		{"no JSON", http.MethodPut, api.PathFaults, `delay=1ms`, http.StatusBadRequest, ""},
		{"two documents", http.MethodPut, api.PathFaults, `{"faults":[]}{"faults":[]}`, http.StatusBadRequest, ""},
		{"no list", http.MethodPut, api.PathFaults, `{}`, http.StatusBadRequest, "faults"},
		{"another name", http.MethodPut, api.PathFaults + "/a", `{"name":"b","delay":"1ms"}`, http.StatusBadRequest, "name"},
		{"no such fault", http.MethodDelete, api.PathFaults + "/nothing", "", http.StatusNotFound, "nothing"},
	} {
		problem := a.wantStatus(c.what, c.method, c.path, c.body, c.want)
		said := problem.Detail
		for _, e := range problem.Errors {
			said += " " + e.Field + " " + e.Accepted
		}
		if !strings.Contains(said, c.field) || len(problem.Detail) > 500 {
			t.Errorf("%s: the problem does not name %q, or is too long: %+v", c.what, c.field, problem)
		}
	}
	if after := kernelState(t, a.lab.pod); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if held := a.faults(); len(held) != 1 || held[0].Delay != "20ms" {
		t.Errorf("faults %+v", held)
	}
}

// Too many requests are told so, and health is not among them. They are all
// sent before the first answer is read, for a slow client would not be too many.
// An emulated CPU answers fewer than 100 per second, and may then refuse none.
func TestRequestsAreLimited(t *testing.T) {
	netlab.EngineIndependent(t)
	a := freshAgent(t)
	const requests, burst, perSecond = 1000, 300, 100
	start := time.Now()
	missing := a.pipeline("/nowhere", requests)
	took := time.Since(start)
	healthy := a.pipeline(api.PathHealthz, 3)
	allowed, refused := missing[http.StatusNotFound], missing[http.StatusTooManyRequests]
	if most := burst + int(perSecond*took.Seconds()) + 1; allowed == 0 || allowed > most || allowed+refused != requests {
		t.Errorf("%d requests in %s: answers %v, want 1 to %d of status 404", requests, took, missing, most)
	}
	if healthy[http.StatusOK] != 3 {
		t.Errorf("health meanwhile: answers %v", healthy)
	}
	r, err := a.ask(http.MethodGet, "/nowhere", "")
	if err == nil && r.status == http.StatusTooManyRequests && r.header.Get("Retry-After") == "" {
		t.Error("a 429 without Retry-After")
	}
	netlab.Eventually(t, 5*time.Second, "requests are served again", func() error {
		status, body, err := a.request(api.PathLatency)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d: %s", status, body)
		}
		return err
	})
}

// pipeline sends requests on one connection without waiting for answers, and
// counts these by status.
func (a *agent) pipeline(path string, count int) map[int]int {
	a.t.Helper()
	conn, err := a.lab.node.Dial(a.t.Context(), "tcp", net.JoinHostPort(a.lab.pod.IP, strconv.Itoa(api.Port)))
	if err != nil {
		a.t.Fatal(err)
	}
	defer conn.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, strings.Repeat("GET "+path+" HTTP/1.1\r\nHost: agent\r\n\r\n", count))
		sent <- err
	}()
	answers := make(map[int]int)
	reader := bufio.NewReader(conn)
	for range count {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			a.t.Fatalf("after %v: %v", answers, err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		answers[response.StatusCode]++
	}
	if err := <-sent; err != nil {
		a.t.Fatal(err)
	}
	return answers
}
