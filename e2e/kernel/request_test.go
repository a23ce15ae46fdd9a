//go:build kernel

package kernel

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
)

// timeout is how long an answer may take.
const timeout = 20 * time.Second

// transport connects from the node, anew for each request: agents come and go.
func (a *agent) transport() *http.Transport {
	return &http.Transport{DialContext: a.lab.node.Dial, DisableKeepAlives: true, ResponseHeaderTimeout: timeout}
}

// client returns a client of the agent as it is now.
func (a *agent) client() *client.Client {
	a.t.Helper()
	c, err := client.New(client.URL(a.lab.pod.IP), client.Options{Token: a.token, Transport: a.transport()})
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// A reply is what the agent answered to a request that no client sends.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// ask sends a request from the node on a new connection. Headers are name and
// value in turn.
func (a *agent) ask(method, path, body string, headers ...string) (reply, error) {
	request, err := http.NewRequest(method, client.URL(a.lab.pod.IP)+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	if a.token != "" {
		request.Header.Set("Authorization", "Bearer "+a.token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := (&http.Client{Transport: a.transport()}).Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, response.Header, content}, err
}

// request is ask for a read.
func (a *agent) request(path string) (int, []byte, error) {
	r, err := a.ask(http.MethodGet, path, "")
	return r.status, r.body, err
}

// latency asks one of the GET /latency routes and wants a 200.
func (a *agent) latency(path string) api.Latency {
	a.t.Helper()
	var answer api.Latency
	a.into(http.MethodGet, path, http.StatusOK, &answer)
	return answer
}

// into asks, wants a status, and decodes the answer.
func (a *agent) into(method, path string, want int, answer any) {
	a.t.Helper()
	a.send(method, path, "", want, answer)
}

// send is into with a body and headers.
func (a *agent) send(method, path, body string, want int, answer any, headers ...string) reply {
	a.t.Helper()
	r, err := a.ask(method, path, body, headers...)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	if r.status != want {
		a.t.Fatalf("%s %s: status %d, want %d: %s", method, path, r.status, want, r.body)
	}
	if err := json.Unmarshal(r.body, answer); err != nil {
		a.t.Fatalf("%s %s: %v in %s", method, path, err, r.body)
	}
	return r
}

// set asks for a delay and wants it confirmed.
func (a *agent) set(delay string) {
	a.t.Helper()
	got, err := a.client().SetLatency(context.Background(), client.Delay{Delay: delay})
	if err != nil {
		a.t.Fatalf("set %s: %v", delay, err)
	}
	answer := got.Body
	if answer.Fault == nil || answer.Fault.Delay != delay || answer.Engine != engineName {
		a.t.Fatalf("set %s: answer %+v with fault %+v", delay, answer, answer.Fault)
	}
}

// clear takes the delay away and wants that confirmed.
func (a *agent) clear() {
	a.t.Helper()
	answer, err := a.client().ClearLatency(context.Background())
	if err != nil {
		a.t.Fatalf("clear: %v", err)
	}
	if answer.Body.Fault != nil {
		a.t.Fatalf("clear: the answer still has fault %+v", answer.Body.Fault)
	}
}
