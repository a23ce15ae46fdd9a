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

// obeyBare takes the agents from pods.
func (w *world) obeyBare(_ *testing.T, d *datadriven.TestData) {
	for _, arg := range d.CmdArgs {
		w.bare(arg.Key)
	}
}

// obeyKubelet has kubelet say how attached agents are.
func (w *world) obeyKubelet(_ *testing.T, d *datadriven.TestData) {
	for _, arg := range d.CmdArgs {
		w.kubelet(w.pod(arg.Key), stateOf(arg.Vals[0]))
	}
}

// obeyRefuseAttach has the API server refuse to attach agents.
func (w *world) obeyRefuseAttach(_ *testing.T, d *datadriven.TestData) {
	w.refusal = apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "basic-pd-0", fmt.Errorf("%s", strings.TrimSpace(d.Input)))
}

// obeyPod changes pods so that they can't have agents.
func (w *world) obeyPod(_ *testing.T, d *datadriven.TestData) {
	for _, arg := range d.CmdArgs {
		w.spoil(w.pod(arg.Key), arg.Vals[0])
	}
}

// obeyLabelNamespace has the namespace enforce a level of Pod Security.
func (w *world) obeyLabelNamespace(t *testing.T, d *datadriven.TestData) {
	t.Helper()
	db := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "db", Labels: map[string]string{injection.EnforceLabel: d.CmdArgs[0].Key}}}
	if err := w.Update(t.Context(), db); err != nil {
		t.Fatal(err)
	}
}

// obeyAttached returns the attached agents.
func (w *world) obeyAttached(*testing.T, *datadriven.TestData) string {
	var all strings.Builder
	for _, pod := range w.pods() {
		for _, c := range pod.Spec.EphemeralContainers {
			fmt.Fprintf(&all, "%s %s %s\n", pod.Name, c.Name, strings.Join(c.Args, " "))
		}
	}
	return all.String()
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
