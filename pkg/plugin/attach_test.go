package plugin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/agent/api"
	agentclient "github.com/tidelay/tidelay/pkg/agent/client"
	"github.com/tidelay/tidelay/pkg/injection"
)

// attach is the API server's subresource ephemeralcontainers.
func (w *world) attach(ctx context.Context, c client.Client, subresource string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
	if subresource != "ephemeralcontainers" {
		return c.SubResource(subresource).Patch(ctx, o, patch, opts...)
	}
	if w.tried != nil {
		w.tried()
	}
	if w.refusal != nil {
		return w.refusal
	}
	pod := w.pod(o.GetName())
	before, err := json.Marshal(pod)
	if err != nil {
		return err
	}
	change, err := patch.Data(o)
	if err != nil {
		return err
	}
	after, err := strategicpatch.StrategicMergePatch(before, change, pod)
	if err != nil {
		return err
	}
	changed := &corev1.Pod{}
	if err := json.Unmarshal(after, changed); err != nil {
		return err
	}
	if changed.UID != pod.UID {
		return apierrors.NewConflict(corev1.Resource("pods"), pod.Name, fmt.Errorf("another UID"))
	}
	var options client.SubResourcePatchOptions
	options.ApplyOptions(opts)
	if len(options.DryRun) > 0 {
		return nil
	}
	return w.Update(ctx, changed)
}

func (w *world) pod(name string) *corev1.Pod {
	w.t.Helper()
	var pod corev1.Pod
	if err := w.Get(w.t.Context(), types.NamespacedName{Namespace: "db", Name: name}, &pod); err != nil {
		w.t.Fatal(err)
	}
	return &pod
}

func (w *world) pods() []corev1.Pod {
	w.t.Helper()
	var pods corev1.PodList
	if err := w.List(w.t.Context(), &pods); err != nil {
		w.t.Fatal(err)
	}
	return pods.Items
}

// bare takes the agents from pods, as if they had been made before the annotation.
func (w *world) bare(names ...string) {
	w.t.Helper()
	for _, name := range names {
		pod := w.pod(name)
		pod.Spec.Containers, pod.Status.ContainerStatuses = pod.Spec.Containers[:1], pod.Status.ContainerStatuses[:1]
		w.update(pod)
	}
}

// update writes a pod and its status.
func (w *world) update(pod *corev1.Pod) {
	w.t.Helper()
	status := pod.Status
	if err := w.Update(w.t.Context(), pod); err != nil {
		w.t.Fatal(err)
	}
	pod.Status = status
	w.write(pod)
}

// install makes the injector's Deployment and settings.
func (w *world) installInjector(config string) {
	w.t.Helper()
	meta := metav1.ObjectMeta{Namespace: "tidelay-system", Name: "tidelay-injector"}
	deployment := &appsv1.Deployment{ObjectMeta: meta}
	deployment.Spec.Template.Spec.Containers = []corev1.Container{{Name: "injector", Env: []corev1.EnvVar{{Name: "AGENT_IMAGE", Value: "tidelay/agent:v1"}}}}
	for _, o := range []client.Object{deployment, &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"config.yaml": config}}} {
		if err := w.Create(w.t.Context(), o); err != nil {
			w.t.Fatal(err)
		}
	}
}

// kubelet says of the agent that was attached last to a pod how it is.
func (w *world) kubelet(pod *corev1.Pod, state corev1.ContainerState) {
	w.t.Helper()
	attached := injection.Attached(pod)
	name := attached[len(attached)-1].Container.Name
	all := slices.DeleteFunc(pod.Status.EphemeralContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == name })
	all = append(all, corev1.ContainerStatus{Name: name, State: state})
	pod.Status.EphemeralContainerStatuses = all
	w.update(pod)
}

// stateOf returns what kubelet says by a word of a script.
func stateOf(word string) corev1.ContainerState {
	switch word {
	case "running":
		return corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	case "creating":
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}
	case "killed":
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137}}
	default:
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: word, Message: "no such image"}}
	}
}

// obeyAttach obeys the commands that are about attached agents.
func (w *world) obeyAttach(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	switch d.Cmd {
	case "bare":
		for _, arg := range d.CmdArgs {
			w.bare(arg.Key)
		}
	case "injector":
		w.installInjector(d.Input)
	case "kubelet":
		for _, arg := range d.CmdArgs {
			w.kubelet(w.pod(arg.Key), stateOf(arg.Vals[0]))
		}
	case "refuse-attach":
		w.refusal = apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "basic-pd-0", fmt.Errorf("%s", strings.TrimSpace(d.Input)))
	case "pod": // change a pod: what=host-network, port, deleted, pending
		for _, arg := range d.CmdArgs {
			w.spoil(w.pod(arg.Key), arg.Vals[0])
		}
	case "label-namespace":
		db := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "db", Labels: map[string]string{injection.EnforceLabel: d.CmdArgs[0].Key}}}
		if err := w.Update(t.Context(), db); err != nil {
			t.Fatal(err)
		}
	case "attached":
		var all strings.Builder
		for _, pod := range w.pods() {
			for _, c := range pod.Spec.EphemeralContainers {
				fmt.Fprintf(&all, "%s %s %s\n", pod.Name, c.Name, strings.Join(c.Args, " "))
			}
		}
		return all.String()
	default:
		d.Fatalf(t, "unknown command %s", d.Cmd)
	}
	return ""
}

// spoil changes a pod so that it can't have an agent.
func (w *world) spoil(pod *corev1.Pod, how string) {
	w.t.Helper()
	switch how {
	case "host-network":
		pod.Spec.HostNetwork = true
	case "port":
		pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: api.Port}}
	case "pending":
		pod.Status.Phase = corev1.PodPending
	case "windows":
		pod.Spec.NodeSelector = map[string]string{corev1.LabelOSStable: "windows"}
	case "opted-out":
		pod.Annotations = map[string]string{"tidelay.io/inject": "false"}
	default:
		w.t.Fatalf("unknown change %s", how)
	}
	w.update(pod)
}

// answering has every agent answer by a handler.
type answering struct{ *httptest.Server }

func (a answering) Of(_ context.Context, pod *corev1.Pod) (*agentclient.Client, error) {
	return agentclient.New(a.URL, agentclient.Options{PodUID: string(pod.UID)})
}

func (w *world) answer(handle http.HandlerFunc) {
	server := httptest.NewServer(handle)
	w.t.Cleanup(server.Close)
	w.agents = answering{server}
}

func works(rw http.ResponseWriter, _ *http.Request) {
	_, _ = fmt.Fprint(rw, `{"engine": "netem", "version": "v1"}`)
}

func forbids(rw http.ResponseWriter, _ *http.Request) {
	rw.WriteHeader(http.StatusForbidden)
	_, _ = fmt.Fprint(rw, `{"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403}`)
}

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
			[]string{"basic-pd-0: tidelay-agent not there after 50ms: is being started", "1 of 3 pods"},
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
	if status := w.run(t.Context(), "attach", "basic"); status != 1 || !strings.Contains(w.errOut.String(), "1 of 8 pods go without an agent that works: basic-pd-0") {
		t.Errorf("exit status %d: %s", status, w.errOut.String())
	}
	if a, b := w.pod("basic-pd-0"), w.pod("basic-pd-1"); len(a.Spec.EphemeralContainers) != 0 || len(b.Spec.EphemeralContainers) != 1 {
		t.Errorf("attached: %d and %d", len(a.Spec.EphemeralContainers), len(b.Spec.EphemeralContainers))
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
