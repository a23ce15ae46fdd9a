package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tidelay/tidelay/pkg/injection"
)

// Waiting ends when each agent answers or has failed, and all others are told first.
func TestAttachWaits(t *testing.T) {
	for name, test := range map[string]struct {
		states map[string][]string // of a pod's agent, one at each look; the last one stays
		answer http.HandlerFunc
		status int
		says   []string
	}{
		"they answer": {
			map[string][]string{"basic-pd-0": {"creating", "running"}, "basic-pd-1": {"running"}},
			works, 0,
			[]string{"basic-pd-0: tidelay-agent attached", "basic-pd-1: tidelay-agent attached", "basic-pd-0: tidelay-agent answers, engine netem, version v1"},
		},
		"one has no image": {
			map[string][]string{"basic-pd-0": {"ErrImagePull"}, "basic-pd-1": {"creating", "creating", "running"}},
			works, 1,
			[]string{"basic-pd-0: tidelay-agent is not started: ErrImagePull (no such image)", "basic-pd-1: tidelay-agent answers", "1 of 3 pods go without an agent that works: basic-pd-0"},
		},
		"one is killed": {
			map[string][]string{"basic-pd-0": {"running"}, "basic-pd-1": {"killed"}},
			works, 1,
			[]string{"basic-pd-1: tidelay-agent ended: OOMKilled, exit status 137", "1 of 3 pods"},
		},
		"without the right to ask": {
			map[string][]string{"basic-pd-0": {"running"}, "basic-pd-1": {"running"}},
			forbids, 0,
			[]string{"basic-pd-0: tidelay-agent runs; whether it answers is not known, since you may not get pods/proxy"},
		},
		"without an engine": {
			map[string][]string{"basic-pd-0": {"running"}, "basic-pd-1": {"running"}},
			func(rw http.ResponseWriter, _ *http.Request) {
				_, _ = fmt.Fprint(rw, `{"engine": "none", "reason": "no module"}`)
			}, 1,
			[]string{"answers, and no engine works: no module", "2 of 3 pods"},
		},
		"never started": {
			map[string][]string{"basic-pd-0": {"creating"}, "basic-pd-1": {"running"}},
			works, 1,
			[]string{"basic-pd-0: tidelay-agent not there after 50ms: is starting", "1 of 3 pods"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.bare("basic-pd-0", "basic-pd-1")
			w.installInjector("agent: {}")
			w.answer(test.answer)
			w.listed = func(list *corev1.PodList) {
				for i := range list.Items {
					states := test.states[list.Items[i].Name]
					if len(states) == 0 || len(list.Items[i].Spec.EphemeralContainers) == 0 {
						continue
					}
					list.Items[i].Status.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: "tidelay-agent", State: stateOf(states[0])}}
					if len(states) > 1 {
						test.states[list.Items[i].Name] = states[1:]
					}
				}
			}
			args := []string{"attach", "basic", "--components=pd", "--wait"}
			if name == "never started" {
				args = append(args, "--timeout=50ms")
			}
			if status := w.run(t.Context(), args...); status != test.status {
				t.Errorf("exit status %d, want %d", status, test.status)
			}
			said := w.out.String() + w.errOut.String()
			for _, want := range test.says {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q:\n%s", want, said)
				}
			}
		})
	}
}

// What was attached stays when somebody waits no longer, and a pod that was replaced is not
// taken for the one that was.
func TestAttachIsInterrupted(t *testing.T) {
	w := newWorld(t)
	w.bare("basic-pd-0")
	w.installInjector("agent: {}")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	looks := 0
	w.listed = func(*corev1.PodList) {
		if looks++; looks == 2 {
			interrupt()
		}
	}
	if status := w.run(ctx, "attach", "basic", "--wait"); status != 1 || !strings.Contains(w.errOut.String(), "interrupted: what was attached stays") {
		t.Errorf("exit status %d: %s", status, w.errOut.String())
	}
	if len(w.pod("basic-pd-0").Spec.EphemeralContainers) != 1 {
		t.Error("nothing was attached")
	}
}

// An API server that does not answer for a moment ends no waiting for agents; one that forbids it
// does.
func TestReadFailsWhileWaitingForAgents(t *testing.T) {
	starts, forbids := apierrors.NewServiceUnavailable("it starts"), apierrors.NewForbidden(corev1.Resource("pods"), "", errors.New("no right"))
	for name, test := range map[string]struct {
		err     error
		times   int
		timeout string
		status  int
		says    []string
	}{
		"for a moment": {starts, 2, "1m", 0, []string{"it is not known how the agents are now: read pods: it starts", "basic-pd-0: tidelay-agent answers"}},
		"until the end": {starts, math.MaxInt, "50ms", 1, []string{
			"it is not known how the agents are now: read pods: it starts", "basic-pd-0: tidelay-agent not there after 50ms: it is not known how it is", "1 of 3 pods go without an agent that works: basic-pd-0",
		}},
		"forbidden": {forbids, 1, "1m", 1, []string{"error: read pods: ", "no right"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.attachable()
			w.answer(works)
			lists := 0
			w.Client = interceptor.NewClient(w.Client.(client.WithWatch), interceptor.Funcs{
				List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
					if _, is := list.(*corev1.PodList); is {
						if lists++; lists > 1 && lists-1 <= test.times { // after it was planned
							return test.err
						}
					}
					return c.List(ctx, list, opts...)
				},
			})
			status := w.run(t.Context(), "attach", "basic", "--components=pd", "--wait", "--timeout="+test.timeout)
			said := w.out.String() + w.errOut.String()
			if status != test.status {
				t.Errorf("exit status %d, want %d", status, test.status)
			}
			for _, want := range test.says {
				if strings.Count(said, want) != 1 {
					t.Errorf("it does not say %q once:\n%s", want, said)
				}
			}
		})
	}
}

// A pod that was replaced meanwhile gets nothing, and the others do.
func TestAttachToAReplacedPod(t *testing.T) {
	w := newWorld(t)
	w.bare("basic-pd-0", "basic-pd-1")
	w.installInjector("agent: {}")
	tries := 0
	w.tried = func() {
		if tries++; tries == 3 { // after the two dry runs
			pod := w.pod("basic-pd-0")
			if err := w.Delete(t.Context(), pod); err != nil {
				t.Fatal(err)
			}
			pod.UID, pod.ResourceVersion = "another", ""
			if err := w.Create(t.Context(), pod); err != nil {
				t.Fatal(err)
			}
		}
	}
	if status := w.run(t.Context(), "attach", "basic", "-o", "name"); status != 1 || !strings.Contains(w.errOut.String(), "1 of 8 pods go without an agent that works: basic-pd-0") {
		t.Errorf("exit status %d: %s", status, w.errOut.String())
	}
	if a, b := w.pod("basic-pd-0"), w.pod("basic-pd-1"); len(a.Spec.EphemeralContainers) != 0 || len(b.Spec.EphemeralContainers) != 1 {
		t.Errorf("attached: %d and %d", len(a.Spec.EphemeralContainers), len(b.Spec.EphemeralContainers))
	}
	if got := w.out.String(); got != "pod/basic-pd-1\n" {
		t.Errorf("what was attached is printed as %q", got)
	}
}

// A life of an hour is "1h", whatever the agent's flag has.
func TestAttachCaps(t *testing.T) {
	w := newWorld(t)
	w.bare("basic-pd-0")
	w.installInjector("agent: {maxDuration: 20m}")
	if status := w.run(t.Context(), "attach", "basic", "--for=30m"); status != 0 {
		t.Fatal(w.errOut.String())
	}
	if got := injection.MaxDuration(w.pod("basic-pd-0")); got != 20*time.Minute || !strings.Contains(w.out.String(), "20m (not 30m:") {
		t.Errorf("longest life %s: %s", got, w.out.String())
	}
}
