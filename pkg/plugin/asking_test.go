package plugin_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/agent/client"
)

// clock is a way to agents that says how long a request to one may take, and leads to none.
type clock struct {
	mu    sync.Mutex
	limit time.Duration
}

func (c *clock) Of(ctx context.Context, _ *corev1.Pod) (*client.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if end, is := ctx.Deadline(); is {
		c.limit = time.Until(end)
	}
	return nil, errors.New("no way")
}

// attachable makes a world in which an agent can be attached to basic-pd-0, where it runs then.
func (w *world) attachable() {
	w.t.Helper()
	w.bare("basic-pd-0")
	w.installInjector("agent: {}")
	w.listed = func(list *corev1.PodList) {
		for i := range list.Items {
			if len(list.Items[i].Spec.EphemeralContainers) > 0 {
				list.Items[i].Status.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: "tidelay-agent", State: stateOf("running")}}
			}
		}
	}
}

// asking are the verbs that ask agents.
var asking = map[string][]string{
	"status":  {"status", "basic"},
	"matrix":  {"matrix", "basic"},
	"explain": {"explain", "basic-tikv-0"},
	"clear":   {"clear", "--all"},
	"attach":  {"attach", "basic", "--components=pd", "--wait", "--timeout=50ms"},
}

// Every verb that asks agents keeps to --request-timeout.
func TestRequestTimeoutIsKept(t *testing.T) {
	const asked = 1500 * time.Millisecond
	for name, args := range asking {
		t.Run(name, func(t *testing.T) {
			w, reach := newWorld(t), &clock{}
			w.attachable()
			w.agents = reach
			w.run(t.Context(), args...)
			if reach.limit <= asked {
				t.Errorf("a request may take %s where nobody says how long: %s", reach.limit, w.out.String())
			}
			w = newWorld(t)
			w.attachable()
			w.agents = reach
			w.run(t.Context(), append(args, "--request-timeout="+asked.String())...)
			if reach.limit > asked {
				t.Errorf("a request may take %s, want %s at most", reach.limit, asked)
			}
			if status := w.run(t.Context(), append(args, "--request-timeout=soon")...); status != 2 || !strings.Contains(w.errOut.String(), `--request-timeout "soon"`) {
				t.Errorf("exit status %d: %s", status, w.errOut.String())
			}
		})
	}
}

// An error of the API server is told as one, and not as that an agent is silent.
func TestAnAPIServerThatDoesNotLeadToAgents(t *testing.T) {
	for name, args := range asking {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.attachable()
			w.proxy.answer("", status(http.StatusInternalServerError, "InternalError", "etcd has no space"))
			w.run(t.Context(), args...)
			said, want := w.out.String()+w.errOut.String(), "failed: etcd has no space"
			if name == "clear" {
				want = "the agent was not told: etcd has no space"
			}
			if !strings.Contains(said, want) || strings.Contains(said, "silent") || strings.Contains(said, "does not answer") {
				t.Errorf("want %q, and no silent agent:\n%s", want, said)
			}
		})
	}
}
