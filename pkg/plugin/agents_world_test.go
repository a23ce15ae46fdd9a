package plugin_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/tidelay/tidelay/e2e/madeup"
	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
	"github.com/tidelay/tidelay/pkg/plugin/look"
)

// podProxy is the part of an API server that leads to agents, which are made up.
type podProxy struct {
	server *httptest.Server
	mu     sync.Mutex
	fleet  *madeup.Fleet
	now    time.Time
	agents map[string]*madeup.Agent // by the name of the pod
	says   map[string]func(*api.Status)
	// answers is what the API server does instead, by the name of the pod, or "" for all.
	answers map[string]http.HandlerFunc
}

// newPodProxy returns a way to an agent in each of some pods, which are those of a world at
// the moment now.
func newPodProxy(t testing.TB, now time.Time, uids map[string]types.UID) *podProxy {
	t.Helper()
	p := &podProxy{fleet: madeup.NewFleet(), now: now, agents: map[string]*madeup.Agent{}, says: map[string]func(*api.Status){}, answers: map[string]http.HandlerFunc{}}
	for _, name := range slices.Sorted(maps.Keys(uids)) {
		p.add(name, uids[name])
	}
	p.server = httptest.NewServer(p)
	t.Cleanup(p.server.Close)
	return p
}

// add adds the agent of a pod.
func (p *podProxy) add(pod string, uid types.UID) {
	agent := p.fleet.Add(netip.AddrFrom4([4]byte{127, 9, 9, byte(len(p.agents) + 1)}), string(uid))
	agent.Act(madeup.Way{Say: func(s *api.Status) { p.say(p.now, pod, s) }})
	p.agents[pod] = agent
}

// say completes what an agent says of itself, as if it were now.
func (p *podProxy) say(now time.Time, pod string, s *api.Status) {
	s.Version = "v1.2.3"
	for i := range s.Faults {
		if ends, err := time.Parse(time.RFC3339, s.Faults[i].ExpiresAt); err == nil {
			s.Faults[i].ExpiresAt = now.Add(time.Until(ends).Round(10 * time.Second)).Format(time.RFC3339)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if say := p.says[pod]; say != nil {
		say(s)
	}
}

// answer has the API server answer by itself for a pod, "" for all; nil to end that.
func (p *podProxy) answer(pod string, handle http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[pod] = handle
}

func (p *podProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, _ := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/db/pods/")
	pod, path, _ := strings.Cut(rest, ":2332/proxy")
	p.mu.Lock()
	agent := p.agents[pod]
	handle := p.answers[""]
	if p.answers[pod] != nil {
		handle = p.answers[pod]
	}
	p.mu.Unlock()
	switch {
	case handle != nil:
		handle(w, r)
	case agent == nil:
		status(http.StatusNotFound, "NotFound", "pods not found")(w, r)
	default:
		r.URL.Path = path
		agent.ServeHTTP(w, r)
	}
}

// reach returns the way for the plugin.
func (p *podProxy) reach(t testing.TB, w *world) *agents.Proxy {
	t.Helper()
	proxy, err := agents.New(&rest.Config{Host: p.server.URL}, w.Client)
	if err != nil {
		t.Fatal(err)
	}
	return proxy
}

// status is an error of the API server's.
func status(code int, reason, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"reason":%q,"code":%d}`, message, reason, code)
	}
}

// behaviour returns what the API server does about an agent that behaves in a way.
func behaviour(way string) http.HandlerFunc {
	switch way {
	case "dead":
		return status(http.StatusServiceUnavailable, "ServiceUnavailable", "error trying to reach service: dial tcp 10.0.1.1:2332: connect: connection refused")
	case "hangs":
		return func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // else it is not seen that nobody waits any more
			<-r.Context().Done()
		}
	case "forbidden":
		return status(http.StatusForbidden, "Forbidden", `pods "basic" is forbidden: User "me" cannot get resource "pods/proxy"`)
	case "old":
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", api.ContentTypeProblem)
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprint(w, `{"type":"about:blank","status":404,"detail":"no such route"}`)
		}
	default:
		return nil
	}
}

// push brings the agents what is in force, as the controller does.
func (w *world) push() {
	w.t.Helper()
	seen, err := look.Read(w.t.Context(), w.Client, types.NamespacedName{Namespace: "db", Name: "basic"})
	if err != nil {
		w.t.Fatal(err)
	}
	in := seen.Input(w.now)
	in.Faults = slices.DeleteFunc(in.Faults, func(f *v1alpha1.NetworkFault) bool { return f.Status.Phase != v1alpha1.Running })
	for pod, faults := range decide.Decide(in).Faults {
		all := slices.DeleteFunc(w.proxy.agents[pod].Faults(), func(f api.Fault) bool { return f.Owner == decide.Owner })
		for _, f := range faults {
			one := f.Wire()
			one.Owner, one.Duration, one.ExpiresAt = decide.Owner, decide.Lease.String(), ""
			all = append(all, one)
		}
		w.set(pod, all...)
	}
}

// set has an agent hold some faults, and no others.
func (w *world) set(pod string, faults ...api.Fault) {
	w.t.Helper()
	if err := w.proxy.agents[pod].Set(faults...); err != nil {
		w.t.Fatal(err)
	}
}
