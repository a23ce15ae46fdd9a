package plugin_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	agentclient "github.com/tidelay/tidelay/pkg/agent/client"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
)

// holding makes a world in which agents hold a fault, and where isPart another one that is not to
// be cleared.
func holding(t *testing.T, isPart bool) *world {
	t.Helper()
	w := newWorld(t)
	for name, args := range map[string][]string{waited: {"--from=tikv", "--to=pd(leader)"}, "basic-tidb": {"--from=tidb"}} {
		if name != waited && !isPart {
			continue
		}
		if status := w.run(t.Context(), append([]string{"set", "basic", "50ms"}, args...)...); status != 0 {
			t.Fatal(w.errOut.String())
		}
		w.start(name, time.Minute)
	}
	w.push()
	return w
}

// reaching is a way to agents on which something happens first.
type reaching struct {
	agents.Reach
	happens func()
}

func (r reaching) Of(ctx context.Context, pod *corev1.Pod) (*agentclient.Client, error) {
	r.happens()
	return r.Reach.Of(ctx, pod)
}

// Ctrl-C after agents were told, and before they were asked again.
func TestClearIsInterruptedAfterTelling(t *testing.T) {
	w := holding(t, false)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	w.agents = reaching{w.proxy.reach(t, w), interrupt}
	status := w.run(ctx, "clear", waited, "--wait")
	const want = "basic-pd-1, basic-tikv-0, basic-tikv-1, basic-tikv-2: the agent was told, and not asked again whether it holds faults; "
	if said := w.errOut.String(); status != 1 || !strings.HasPrefix(said, want) || !strings.Contains(w.out.String(), "4 of 8 agents hold none") {
		t.Errorf("exit status %d: %s%s\nwant %s", status, w.out.String(), said, want)
	}
	for name, agent := range w.proxy.agents {
		if left := agent.Faults(); len(left) > 0 {
			t.Errorf("%s holds %v", name, left)
		}
	}
}

// An agent that has faults again each time was told all the same.
func TestClearOfWhatIsSetAgain(t *testing.T) {
	w := newWorld(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var asked atomic.Int32
	w.proxy.answer("basic-tikv-0", func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			_, _ = fmt.Fprint(rw, "{}")
			return
		}
		_, _ = fmt.Fprint(rw, `{"faults": [{"name": "again", "owner": "tidelay-controller", "delay": "20ms"}]}`)
		if asked.Add(1) == 3 {
			interrupt()
		}
	})
	status := w.run(ctx, "clear", "--all", "--wait", "--timeout=1m")
	const want = "basic-tikv-0: the agent had faults again each time that it was asked; "
	if said := w.errOut.String(); status != 1 || !strings.HasPrefix(said, want) || strings.Contains(said, "not told") {
		t.Errorf("exit status %d: %s\nwant %s", status, said, want)
	}
}

// An agent that answers no more after it was told was told all the same.
func TestClearOfAnAgentThatFallsSilent(t *testing.T) {
	w := newWorld(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var asked atomic.Int32
	w.proxy.answer("basic-tikv-0", func(rw http.ResponseWriter, _ *http.Request) {
		switch asked.Add(1) {
		case 1:
			_, _ = fmt.Fprint(rw, `{"faults": [{"name": "once", "owner": "tidelay-controller", "delay": "20ms"}]}`)
		case 2:
			_, _ = fmt.Fprint(rw, "{}")
		default:
			interrupt()
			rw.WriteHeader(http.StatusGatewayTimeout)
		}
	})
	status := w.run(ctx, "clear", "--all", "--wait", "--timeout=1m")
	const want = "basic-tikv-0: the agent was told, and does not say whether it holds faults: "
	if said := w.errOut.String(); status != 1 || !strings.Contains(said, want) || strings.Contains(said, "not told") {
		t.Errorf("exit status %d: %s\nwant %s", status, said, want)
	}
}

// Ctrl-C before anything is ended ends nothing.
func TestClearIsInterruptedWhileReading(t *testing.T) {
	for _, args := range [][]string{{"--all"}, {waited}, {"basic"}, {"nobody"}} {
		w := holding(t, false)
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		w.Client = interceptor.NewClient(w.Client.(client.WithWatch), interceptor.Funcs{
			List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
				interrupt()
				return context.Canceled
			},
		})
		status := w.run(ctx, append([]string{"clear"}, args...)...)
		if said := w.out.String() + w.errOut.String(); status != 1 || said != "error: interrupted: nothing was ended\n" {
			t.Errorf("%v: exit status %d: %s", args, status, said)
		}
		if len(w.proxy.agents["basic-tikv-0"].Faults()) == 0 || w.fault(waited) == nil {
			t.Errorf("%v: it was ended", args)
		}
	}
}

// While the controller is to tell agents, an API server that does not answer for a moment ends no
// waiting, and Ctrl-C says what is not known.
func TestClearAPartMeetsFailures(t *testing.T) {
	starts := apierrors.NewServiceUnavailable("it starts")
	for name, test := range map[string]struct {
		// look happens at a look at the TidbCluster, of which this is the first, the second...
		look        func(w *world, looks int, interrupt func()) error
		timeout     string
		status      int
		out, errOut string
	}{
		"for a moment": {
			look: func(w *world, looks int, _ func()) error {
				switch looks {
				case 1:
					return starts
				case 2:
					w.push()
				}
				return nil
			},
			timeout: "1m", status: 0, out: "agents hold nothing of it any more\n",
		},
		"until the end": {
			look:    func(*world, int, func()) error { return starts },
			timeout: "20ms", status: 1, errOut: "read TidbClusters: it starts; so it is not known whether agents have let go\n",
		},
		"interrupted": {
			look: func(_ *world, _ int, interrupt func()) error {
				interrupt()
				return context.Canceled
			},
			timeout: "1m", status: 1, errOut: "interrupted: it is not known whether agents of basic have let go; they let go as soon as the controller tells them, and at the latest in 5 minutes by themselves\n",
		},
		"interrupted while asking": {
			look: func(_ *world, _ int, interrupt func()) error {
				interrupt()
				return nil
			},
			timeout: "1m", status: 1, errOut: "interrupted: it is not known whether agents of basic have let go; ",
		},
		"gone": {
			look: func(*world, int, func()) error {
				return apierrors.NewNotFound(corev1.Resource("tidbclusters"), "basic")
			},
			timeout: "1m", status: 1, errOut: "there is no TidbCluster basic in namespace db",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := holding(t, true)
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			looks := 0
			w.Client = interceptor.NewClient(w.Client.(client.WithWatch), interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
					if _, is := o.(*tcv1alpha1.TidbCluster); is {
						looks++
						if err := test.look(w, looks, interrupt); err != nil {
							return err
						}
					}
					return c.Get(ctx, key, o, opts...)
				},
			})
			status := w.run(ctx, "clear", waited, "--wait", "--timeout="+test.timeout)
			if status != test.status || !strings.HasSuffix(w.out.String(), test.out) || !strings.HasPrefix(w.errOut.String(), test.errOut) {
				t.Errorf("exit status %d, want %d: %s%s\nwant %s%s", status, test.status, w.out.String(), w.errOut.String(), test.out, test.errOut)
			}
		})
	}
}
