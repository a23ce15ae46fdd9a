package missed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/injection"
)

func TestAsk(t *testing.T) {
	answer := func(server string, status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != api.PathReadyz {
				t.Errorf("asked for %s", r.URL.Path)
			}
			if server != "" {
				w.Header().Set("Server", server)
			}
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, body)
		}
	}
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    reply
	}{
		"an agent that is ready":              {answer(api.ServerName, 200, "ok: engine netem: it works\n"), reply{kind: ready}},
		"an agent without an engine":          {answer(api.ServerName, 503, "not ready: no\nengine\n"), reply{unready, "not ready: no engine"}},
		"an agent behind a mesh":              {answer("envoy", 200, "ok: engine netem: it works\n"), reply{kind: ready}},
		"an agent that is not ready, behind":  {answer("envoy", 503, "not ready: no engine\n"), reply{unready, "not ready: no engine"}},
		"a mesh that lets nobody through":     {answer("envoy", 403, "RBAC: access denied"), reply{}},
		"a mesh that reaches nobody":          {answer("envoy", 503, "upstream connect error"), reply{}},
		"another server":                      {answer("", 200, "ok"), reply{notAgent, "something else has the agent's port"}},
		"another server without such a route": {answer("nginx", 404, ""), reply{notAgent, "something else has the agent's port"}},
		"a redirect":                          {answer("nginx", 302, ""), reply{notAgent, "something else has the agent's port"}},
		"much":                                {answer(api.ServerName, 503, strings.Repeat("x", 1<<20)), reply{unready, strings.Repeat("x", maxWords) + "..."}},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(test.handler)
			defer server.Close()
			if got := NewAsker().askAt(t.Context(), server.Listener.Addr().String()); got != test.want {
				t.Errorf("reply %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestAskWhatSpeaksNoHTTP(t *testing.T) {
	for name, test := range map[string]struct {
		says string
		want replyKind
	}{
		"an SSH server":              {"SSH-2.0-OpenSSH_9.2\r\n", notAgent},
		"something that hangs up":    {"", silent},
		"something that says little": {"wait", silent},
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = listener.Close() }()
			go func() {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				if test.says == "wait" {
					<-t.Context().Done()
					return
				}
				// What the client says is read first, since the end of a connection with
				// something unread is a reset.
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = conn.Write([]byte(test.says))
			}()
			if got := NewAsker().askAt(t.Context(), listener.Addr().String()); got.kind != test.want {
				t.Errorf("reply %+v, want kind %d", got, test.want)
			}
		})
	}
}

func TestAskNobody(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	if got := NewAsker().askAt(t.Context(), server.Listener.Addr().String()); got.kind != refused {
		t.Errorf("reply %+v of a closed port", got)
	}
	if got := NewAsker().askAt(t.Context(), "no address"); got.kind != silent {
		t.Errorf("reply %+v of no address", got)
	}
}

// runningFor has the agent of a pod run for a while. Its address is the pod's name.
func runningFor(d time.Duration) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		injected(p)
		p.Status.PodIP = p.Name
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: injection.ContainerName, State: runningSince(time.Now().Add(-d))}}
	}
}

// replies answers for agents by their addresses.
type replies map[string]reply

func (r replies) ask(_ context.Context, addresses []string) []reply {
	all := make([]reply, len(addresses))
	for i, address := range addresses {
		all[i] = r[address]
	}
	return all
}

func TestCheckAsksAgents(t *testing.T) {
	ok, no := reply{kind: ready}, reply{refused, "nobody listens"}
	for name, test := range map[string]struct {
		replies          replies
		want             string
		says             string
		unusable, silent float64
	}{
		"all are ready":                      {replies{"basic-tikv-0": ok, "basic-tikv-1": ok}, "True injected", "2 of 2 pods carry the agent", 0, 0},
		"none can be asked":                  {replies{}, "True injected", "2 of 2 pods carry the agent", 0, 2},
		"all are refused, as by a policy":    {replies{"basic-tikv-0": no, "basic-tikv-1": no}, "True injected", "2 of 2 pods carry the agent", 0, 2},
		"one is refused and another answers": {replies{"basic-tikv-0": no, "basic-tikv-1": ok}, "False agent_not_answering", "the agent can't be used in 1 of 2 pods: basic-tikv-0 (nobody listens)", 1, 0},
		"one is another's":                   {replies{"basic-tikv-1": {notAgent, "ssh"}}, "False agent_not_answering", "basic-tikv-1 (ssh)", 1, 1},
		"one is not ready":                   {replies{"basic-tikv-0": ok, "basic-tikv-1": {unready, "not ready: no engine"}}, "False agent_not_ready", "basic-tikv-1 (not ready: no engine)", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, cluster("basic", "true"), cluster("other", "true"),
				pod("basic-tikv-0", "basic", runningFor(time.Minute)), pod("basic-tikv-1", "basic", runningFor(time.Minute)),
				pod("other-tikv-0", "other", runningFor(time.Second))) // which is too young
			w.checker.options.Agents = test.replies
			for range 2 {
				w.checker.check(t.Context())
			}
			w.wantConditions("basic", operators, "TidelayInjected "+test.want)
			w.wantConditions("other", operators, "TidelayInjected True injected")
			if message := w.message("basic"); !strings.Contains(message, test.says) {
				t.Errorf("message %q, want %q", message, test.says)
			}
			got := []float64{testutil.ToFloat64(w.checker.metrics.unusable.WithLabelValues("db", "basic")), testutil.ToFloat64(w.checker.metrics.silent.WithLabelValues("db", "basic"))}
			if diff := cmp.Diff([]float64{test.unusable, test.silent}, got); diff != "" {
				t.Errorf("unusable and silent (-want +got):\n%s", diff)
			}
			if want := int(test.unusable); len(w.events) != want {
				t.Errorf("events %q, want %d", w.events, want)
			}
		})
	}
}

// Pods are listed before their agents are asked. What answers at the address of a pod that
// is gone since is not told of it.
func TestCheckAsksAgentsOfPodsThatAreReplaced(t *testing.T) {
	for name, bad := range map[string]reply{
		"refused": {refused, "nobody listens"}, "another's": {notAgent, "ssh"}, "not ready": {unready, "not ready: no engine"},
	} {
		t.Run(name, func(t *testing.T) {
			as := func(uid string) *corev1.Pod {
				return pod("basic-tikv-0", "basic", runningFor(time.Minute), func(p *corev1.Pod) { p.UID = types.UID(uid) })
			}
			w := newWorld(t, cluster("basic", "true"), as("first"), pod("basic-tikv-1", "basic", runningFor(time.Minute)))
			w.checker.options.Agents = replies{"basic-tikv-0": bad, "basic-tikv-1": {kind: ready}}
			w.checker.check(t.Context())
			w.wantConditions("basic", operators, "TidelayInjected True injected")
			for _, uid := range []string{"second", "third"} {
				if err := errors.Join(w.client.Delete(t.Context(), as(uid)), w.client.Create(t.Context(), as(uid))); err != nil {
					t.Fatal(err)
				}
				w.checker.check(t.Context())
				w.wantConditions("basic", operators, "TidelayInjected True injected")
			}
			if len(w.events) > 0 {
				t.Errorf("events %q of pods that were replaced", w.events)
			}

			// The third stays and answers so again, which is told, and goes on being told when
			// another replica leads, though that one knows nothing of the check before.
			w.checker.check(t.Context())
			message := w.message("basic")
			if !strings.Contains(message, "basic-tikv-0 ("+bad.detail+")") {
				t.Errorf("message %q, want %q", message, bad.detail)
			}
			w.checker.unusable = recent[badReply]{}
			w.checker.check(t.Context())
			if got := w.message("basic"); got != message {
				t.Errorf("after a change of the leader, message %q, want still %q", got, message)
			}

			// One good answer between two bad ones is not two in a row.
			w.checker.options.Agents = replies{"basic-tikv-0": {kind: ready}, "basic-tikv-1": {kind: ready}}
			w.checker.check(t.Context())
			w.checker.options.Agents = replies{"basic-tikv-0": bad, "basic-tikv-1": {kind: ready}}
			w.checker.check(t.Context())
			w.wantConditions("basic", operators, "TidelayInjected True injected")
		})
	}
}

// The time for all agents ends, however many there are.
func TestAskManyAgentsInNoTime(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, got := range NewAsker().ask(ctx, slices.Repeat([]string{"127.0.0.1"}, 10000)) {
		if got.kind != silent {
			t.Fatalf("reply %+v, want silence", got)
		}
	}
}
