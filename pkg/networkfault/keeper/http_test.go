package keeper

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/agent/httpapi"
	"github.com/tidelay/tidelay/pkg/fault"
)

// noTC has no tc commands.
type noTC struct{}

func (noTC) Equivalent(string, fault.Fault) string { return "" }
func (noTC) Commands([]fault.Fault) []string       { return nil }

// serve serves a real agent with an engine in memory, which asks for the token "secret",
// and returns Agents whose connections all lead there.
func serve(t *testing.T, e *enginetest.Engine, tokens Tokens) Agents {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	server := httptest.NewServer(httpapi.New(httpapi.Config{
		Control: control.New(e, t.TempDir(), 0, log), TC: noTC{},
		Engine:    func() httpapi.Engine { return httpapi.Engine{Name: api.EngineNetem} },
		Devices:   func() ([]api.Device, error) { return []api.Device{{Name: "eth0", Index: 7}}, nil },
		Exempt:    func() fault.Exemption { return fault.Exemption{ControlPort: api.Port} },
		TokenFile: file, Registry: prometheus.NewPedanticRegistry(), Log: log,
	}).Handler())
	t.Cleanup(server.Close)
	return leadTo(t, server.Listener.Addr().String(), tokens)
}

// leadTo returns Agents whose connections all lead to one address.
func leadTo(t *testing.T, address string, tokens Tokens) Agents {
	t.Helper()
	agents := newHTTPAgents(tokens)
	dial := agents.transport.DialContext
	agents.transport.DialContext = func(ctx context.Context, network, asked string) (net.Conn, error) {
		if asked != "10.0.0.1:2332" {
			t.Errorf("dialed %s", asked)
		}
		return dial(ctx, network, address)
	}
	return agents
}

func secret(_ context.Context, namespace string) (string, error) {
	if namespace != cluster.Namespace {
		return "", errors.New("another namespace")
	}
	return "secret", nil
}

// The Keeper and a real agent agree about what was asked for and what is held.
func TestARealAgent(t *testing.T) {
	e := &enginetest.Engine{}
	agents := serve(t, e, secret)
	lossy := delay("lossy", 20*time.Millisecond, time.Now().Add(time.Hour), "one", "two")
	lossy.Impairment.Jitter, lossy.Impairment.Distribution = 1500*time.Microsecond, "normal"
	lossy.Impairment.Loss = &fault.Chance{Percent: 12_500}
	lossy.Match.Peers = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("10.2.0.1/32"), netip.MustParsePrefix("fd00::1/128")}
	lossy.Match.Protocol, lossy.Match.RemotePorts = "tcp", []api.PortRange{{First: 2379, Last: 2380}, {First: 20160, Last: 20160}}
	cut := delay("cut", 0, time.Time{})
	cut.Match.Direction, cut.Impairment.Partition = fault.Both, true

	whole := target(1, cut, lossy)
	for _, want := range []string{api.ActionAdd, api.ActionKeep} {
		r := newRequest(&whole, nil, time.Now())
		answer, err := agents.Replace(t.Context(), whole, r.faults)
		if res := r.judge(answer, err, time.Second); res.outcome != ok || len(res.confirmed) != 2 {
			t.Fatalf("%+v; %v", res, err)
		}
		for _, c := range answer.Changes {
			if c.Action != want {
				t.Errorf("%s: %s, want %s", c.Name, c.Action, want)
			}
		}
	}
	if got := e.Get(); len(got.Faults) != 2 {
		t.Errorf("the kernel has %d faults", len(got.Faults))
	}
	// A refusal names the fault.
	e.Set(func(k *enginetest.Kernel) { k.Lacking = map[fault.Feature]string{fault.FeatureSeed: "old"} })
	seed := uint64(7)
	whole.Faults[1].Impairment.Seed = &seed
	r := newRequest(&whole, nil, time.Now())
	answer, err := agents.Replace(t.Context(), whole, r.faults)
	res := r.judge(answer, err, time.Second)
	if res.outcome != refused || len(res.refused) != 1 || res.refused[0].Name != "lossy" || !strings.Contains(res.words, "seed is not supported here") {
		t.Errorf("%+v; %v", res, err)
	}
	none := target(1)
	r = newRequest(&none, nil, time.Now())
	answer, err = agents.Replace(t.Context(), none, r.faults)
	if res := r.judge(answer, err, time.Second); res.outcome != ok || len(e.Get().Faults) != 0 {
		t.Errorf("%+v; %v", res, err)
	}
}

// An agent that asks for no token is sent none.
func TestNoTokenForWhoAsksForNone(t *testing.T) {
	agents := serve(t, &enginetest.Engine{}, func(context.Context, string) (string, error) {
		t.Error("the token was read")
		return "secret", nil
	})
	open := target(1)
	open.IsOpen = true
	if _, err := agents.Replace(t.Context(), open, nil); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("the agent, which has a token, answers %v; want that it misses that", err)
	}
}

// Each way in which there is no answer has its outcome, with words that are the same
// each time.
func TestNoAnswers(t *testing.T) {
	wrong := func(context.Context, string) (string, error) { return "wrong", nil }
	none := func(context.Context, string) (string, error) { return "", errors.New("no Secret") }
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	handle := func(handler http.HandlerFunc) string {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		return server.Listener.Addr().String()
	}
	drop := handle(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	hang := handle(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil { // a server that has not read all does not see that its client is gone
			t.Error(err)
		}
		<-r.Context().Done()
	})
	other := handle(http.NotFound)
	for name, test := range map[string]struct {
		agents  Agents
		outcome outcome
		words   string
	}{
		"wrong token":    {serve(t, &enginetest.Engine{}, wrong), unauthorized, "unauthorized: want the header"},
		"no token":       {serve(t, &enginetest.Engine{}, none), failed, "not asked: read agents' token: no Secret"},
		"nobody listens": {leadTo(t, nobody, secret), unreachable, "connection refused"},
		"no answer":      {leadTo(t, hang, secret), timeout, "timeout after 200ms"},
		"connection end": {leadTo(t, drop, secret), failed, "PUT /v1/faults: EOF"},
		"no agent":       {leadTo(t, other, secret), failed, "something that is no agent answered 404 Not Found"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if test.outcome == timeout {
			ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
		}
		defer cancel()
		whole := target(1, delay("a", time.Millisecond, time.Time{}))
		r := newRequest(&whole, nil, time.Now())
		answer, err := test.agents.Replace(ctx, whole, r.faults)
		if res := r.judge(answer, err, 200*time.Millisecond); res.outcome != test.outcome || !strings.HasPrefix(res.words, test.words) {
			t.Errorf("%s: %s %q; %v", name, res.outcome, res.words, err)
		}
	}
}

// New fails rather than count twice.
func TestMetricsAreRegisteredOnce(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	if _, err := New(Options{Metrics: registry}); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Metrics: registry}); err == nil {
		t.Error("registered twice")
	}
}
