package surveyor

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/agent/httpapi"
	"github.com/tidelay/tidelay/pkg/agent/measure"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

// noTC has no tc commands.
type noTC struct{}

func (noTC) Equivalent(string, fault.Fault) string { return "" }
func (noTC) Commands([]fault.Fault) []string       { return nil }

// serve serves a real agent in the pod "uid-0", which asks for the token "secret" and
// measures by a function, and returns what asks agents, whose connections all lead there.
func serve(t *testing.T, tokens Tokens, run func(context.Context, measure.Plan) []api.Measurement) *httpAgents {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	server := httptest.NewServer(httpapi.New(httpapi.Config{
		Control: control.New(enginetest.New(enginetest.Kernel{Counters: api.Counters{Packets: 97, Dropped: 3}}), t.TempDir(), 0, log), TC: noTC{},
		Measure: run, PodUID: "uid-0", TokenFile: file, Registry: prometheus.NewPedanticRegistry(), Log: log,
		Engine:   func() httpapi.Engine { return httpapi.Engine{Name: api.EngineNetem} },
		Devices:  func() ([]api.Device, error) { return []api.Device{{Name: "eth0", Index: 7}}, nil },
		Warnings: func() []string { return nil },
		Exempt:   func() fault.Exemption { return fault.Exemption{ControlPort: api.Port} },
	}).Handler())
	t.Cleanup(server.Close)
	agents := newHTTPAgents(tokens)
	dial := agents.transport.DialContext
	agents.transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, server.Listener.Addr().String())
	}
	return agents
}

// What a real agent has counted is understood.
func TestARealAgentCounts(t *testing.T) {
	target := assignment(0, 0).Target
	agents := serve(t, func(context.Context, string) (string, error) { return "secret", nil }, nil)
	agent, err := agents.client(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := agent.SetFault(t.Context(), api.Fault{Name: "lossy", Loss: &api.Loss{Percent: 1}}); err != nil {
		t.Fatal(err)
	}
	status, err := agents.Status(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	c := verify.Counted{Fault: "lossy"}
	if got, isHeld := c.Reading(status, time.Time{}, time.Time{}); !isHeld || got.Engine != api.EngineNetem || got.Devices != 1 || got.Counters.Dropped != 3 {
		t.Errorf("%+v, held: %t", got, isHeld)
	}
}

// A real agent takes what it is asked to measure, and its answers are understood.
func TestARealAgent(t *testing.T) {
	secret := func(context.Context, string) (string, error) { return "secret", nil }
	target := assignment(0, 0).Target
	other := target
	other.UID = "another"
	started, release := make(chan bool, 1), make(chan bool)
	for name, test := range map[string]struct {
		tokens Tokens
		target Target
		isBusy bool
		want   verify.Outcome
	}{
		"measured":       {secret, target, false, verify.InTolerance},
		"busy":           {secret, target, true, verify.Busy},
		"another pod":    {secret, other, false, verify.Failed},
		"a wrong token":  {func(context.Context, string) (string, error) { return "wrong", nil }, target, false, verify.Failed},
		"no token known": {func(context.Context, string) (string, error) { return "", errors.New("forbidden") }, target, false, verify.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			agents := serve(t, test.tokens, func(_ context.Context, p measure.Plan) []api.Measurement {
				if p.Count == 1 {
					started <- true
					<-release
				}
				var all []api.Measurement
				for _, target := range p.Targets {
					one := api.Measurement{Target: target.String(), Samples: []float64{50.3, 50.4}}
					if target.Port == api.Port {
						one.Samples = []float64{0.3, 0.4}
					}
					all = append(all, one)
				}
				return all
			})
			if test.isBusy {
				done := make(chan error)
				go func() {
					_, err := agents.Measure(t.Context(), test.target, api.Measure{Targets: []string{"10.0.0.1"}, Count: 1})
					done <- err
				}()
				<-started
				defer func() {
					release <- true
					if err := <-done; err != nil {
						t.Error(err)
					}
				}()
			}
			c := verify.Check{Addr: netip.MustParseAddr("fd00::1"), Port: 2379, Asked: verify.Asked{RTT: 50 * time.Millisecond}}
			answer, err := agents.Measure(t.Context(), test.target, c.Measure())
			if got := judge(c, answer, err); got.Outcome != test.want {
				t.Errorf("%+v, %v; want %s", got, err, test.want)
			}
		})
	}
}

// An agent that can't be asked is told in the same words each time, without our own port.
func TestWordsOfAFailure(t *testing.T) {
	for _, port := range []int{40000, 40001} {
		err := &net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{Port: port}, Err: syscall.ECONNRESET}
		if got := judge(verify.Check{}, api.Measurements{}, err); got.Outcome != verify.Failed || got.Why != "its agent did not measure: connection reset by peer" {
			t.Errorf("%+v", got)
		}
	}
}
