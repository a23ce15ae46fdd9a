package madeup_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidelay/tidelay/e2e/madeup"
	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/agent/httpapi"
	"github.com/tidelay/tidelay/pkg/fault"
)

const (
	uid   = "6f3c8a52-0000-4000-8000-000000000001"
	owner = "tidelay-controller"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// made returns a made-up agent, and a client of it.
func made(t *testing.T, o client.Options) (*madeup.Agent, *client.Client) {
	t.Helper()
	fleet := madeup.NewFleet()
	agent := fleet.Add(loopback, uid)
	return agent, clientOf(t, fleet, o)
}

func clientOf(t *testing.T, handler http.Handler, o client.Options) *client.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c, err := client.New(server.URL, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

type noTC struct{}

func (noTC) Equivalent(string, fault.Fault) string { return "" }
func (noTC) Commands([]fault.Fault) []string       { return nil }

// realOne returns a client of an agent's own handler, with an engine in memory.
func realOne(t *testing.T, o client.Options) *client.Client {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	return clientOf(t, httpapi.New(httpapi.Config{
		Control: control.New(&enginetest.Engine{}, t.TempDir(), 0, log), TC: noTC{}, PodUID: uid,
		Engine:   func() httpapi.Engine { return httpapi.Engine{Name: api.EngineNetem} },
		Devices:  func() ([]api.Device, error) { return []api.Device{{Name: "eth0", Index: 7}}, nil },
		Exempt:   func() fault.Exemption { return fault.Exemption{ControlPort: api.Port} },
		Registry: prometheus.NewPedanticRegistry(), Log: log,
	}).Handler(), o)
}

func delay(name, by string) api.Fault {
	return api.Fault{Name: name, Peers: []string{"10.0.0." + by[:1]}, Delay: by + "ms", Duration: "5m"}
}

// A made-up agent answers as a real one does to all that the controller, and a person
// beside it, may ask for.
func TestAnswersAsARealAgent(t *testing.T) {
	asks := []struct {
		owner  string // empty for all faults
		faults []api.Fault
	}{
		{owner, nil},
		{owner, []api.Fault{delay("a", "1"), delay("b", "2")}},
		{owner, []api.Fault{delay("a", "1"), delay("b", "2")}},
		{owner, []api.Fault{delay("b", "3"), delay("c", "4")}},
		{"", []api.Fault{delay("d", "5"), {Name: "e", Owner: owner, Peers: []string{"10.0.0.6/32"}, Partition: true}}},
		{owner, []api.Fault{delay("d", "6")}},                                 // the name of a person's
		{owner, []api.Fault{delay("f", "5")}},                                 // the packets of a person's
		{owner, []api.Fault{delay("f", "7"), delay("f", "8")}},                // one name twice
		{owner, []api.Fault{{Name: "g", Delay: "far", Peers: []string{"x"}}}}, // bad values
		{owner, nil},
		{"", nil},
	}
	_, fake := made(t, client.Options{PodUID: uid})
	real := realOne(t, client.Options{PodUID: uid})
	for i, ask := range asks {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			if diff := cmp.Diff(put(t, real, ask.owner, ask.faults), put(t, fake, ask.owner, ask.faults)); diff != "" {
				t.Errorf("(-real +made up):\n%s", diff)
			}
		})
	}
}

// outcome is what a request came to, without what takes no part in it.
type outcome struct {
	Status  int
	Actions []string
	Faults  []api.Fault
	Fields  []api.FieldError
}

func put(t *testing.T, c *client.Client, owner string, faults []api.Fault) outcome {
	t.Helper()
	var answer client.Answer[api.Changes]
	var err error
	if owner == "" {
		answer, err = c.ReplaceFaults(t.Context(), slices.Clone(faults))
	} else {
		answer, err = c.ReplaceOwned(t.Context(), owner, slices.Clone(faults))
	}
	if refusal, is := errors.AsType[*client.Error](err); is {
		return outcome{Status: refusal.Status, Fields: refusal.Errors}
	}
	if err != nil {
		t.Fatal(err)
	}
	o := outcome{Status: http.StatusOK, Faults: answer.Body.Faults}
	for i := range o.Faults {
		if o.Faults[i].ExpiresAt != "" {
			ends, err := time.Parse(time.RFC3339Nano, o.Faults[i].ExpiresAt)
			if left := time.Until(ends); err != nil || left < 4*time.Minute || left > 5*time.Minute {
				t.Errorf("%s ends after %s, %v", o.Faults[i].Name, left, err)
			}
			o.Faults[i].ExpiresAt = "within its life"
		}
	}
	for _, c := range answer.Body.Changes {
		o.Actions = append(o.Actions, c.Name+" "+c.Action)
	}
	return o
}

// A fault ends on time without being asked.
func TestFaultsEnd(t *testing.T) {
	agent, c := made(t, client.Options{})
	short := delay("a", "1")
	short.Duration = "1s"
	if _, err := c.ReplaceOwned(t.Context(), owner, []api.Fault{short, delay("b", "2")}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for len(agent.Faults()) == 2 {
		if time.Since(began) > 5*time.Second {
			t.Fatal("it does not end")
		}
		<-time.After(10 * time.Millisecond)
	}
	if left := agent.Faults(); time.Since(began) < 900*time.Millisecond || len(left) != 1 || left[0].Name != "b" {
		t.Errorf("after %s there is left %v", time.Since(began), left)
	}
}

// The counters of each fault grow with each reading, or begin anew.
func TestCounting(t *testing.T) {
	agent, c := made(t, client.Options{})
	if _, err := c.ReplaceOwned(t.Context(), owner, []api.Fault{delay("a", "1")}); err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		count madeup.Counting
		want  uint64
	}{{madeup.Counting{}, 0}, {madeup.Counting{Lost: 3}, 3}, {madeup.Counting{Lost: 4}, 7}, {madeup.Counting{Anew: true}, 0}, {madeup.Counting{Lost: 4}, 4}} {
		agent.Act(madeup.Way{Count: step.count})
		status, err := c.Status(t.Context())
		if err != nil || len(status.Faults) != 1 || !status.Faults[0].Held || status.Faults[0].Counters.Dropped != step.want {
			t.Errorf("reading %d: %+v, %v; want %d", i, status.Faults, err, step.want)
		}
	}
}

// Each way to behave is what its name says.
func TestWays(t *testing.T) {
	for name, test := range map[string]struct {
		way    madeup.Way
		client client.Options
		// status is that of the answer; 0 for none.
		status, answered, held int
	}{
		"obeys":        {status: 200, answered: 1, held: 1},
		"lies":         {way: madeup.Way{Lie: true}, status: 200, held: 1},
		"refuses":      {way: madeup.Way{Refuse: new(madeup.Problem(422, "this kernel can't"))}, status: 422},
		"drops":        {way: madeup.Way{Drop: true}},
		"hangs":        {way: madeup.Way{Hang: true}, held: 1},
		"wants token":  {way: madeup.Way{Token: "secret"}, status: 401},
		"has token":    {way: madeup.Way{Token: "secret"}, client: client.Options{Token: "secret"}, status: 200, answered: 1, held: 1},
		"other pod":    {client: client.Options{PodUID: uid[1:]}, status: 421},
		"the same pod": {client: client.Options{PodUID: uid}, status: 200, answered: 1, held: 1},
	} {
		t.Run(name, func(t *testing.T) {
			agent, c := made(t, test.client)
			agent.Act(test.way)
			ctx := t.Context()
			if test.way.Hang {
				limited, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
				defer cancel()
				ctx = limited
			}
			answer, err := c.ReplaceOwned(ctx, owner, []api.Fault{delay("a", "1")})
			status := 0
			if refusal, is := errors.AsType[*client.Error](err); is {
				status = refusal.Status
			} else if err == nil {
				status = http.StatusOK
			}
			if status != test.status || len(answer.Body.Faults) != test.answered || len(agent.Faults()) != test.held {
				t.Errorf("status %d, %d faults in the answer and %d held; %v", status, len(answer.Body.Faults), len(agent.Faults()), err)
			}
			if got := agent.Counts(); got != (madeup.Counts{Changes: 1, Altering: test.held}) {
				t.Errorf("counted %+v", got)
			}
		})
	}
}
