package plugin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/plugin"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// world is an API server with the TidbCluster db/basic of 3 PD, 3 TiKV and 2 TiDB, all
// healthy and with agents, of which pd-1 leads.
type world struct {
	t testing.TB
	client.Client
	now time.Time
	// proxy leads to the pods' agents.
	proxy *podProxy
	// forbidden are the kinds that may not be read, or as "all/KIND" not in all namespaces, or as
	// "create/KIND", "patch/KIND" and "delete/KIND" not be written.
	forbidden map[string]bool
	// unknown are the kinds that the API server does not know.
	unknown map[string]bool
	// seen, if it is set, changes a NetworkFault or NetworkTopology that is read alone, as the
	// controller would meanwhile.
	seen func(client.Object)
	// stumble, if it is set, is why a NetworkFault or NetworkTopology can't be read alone; and
	// meanwhile happens before the next change of an object.
	stumble   func() error
	meanwhile func()
	// creating, if it is set, says why an object can't be created.
	creating func(client.Object) error
	// agents reaches the agents of pods; the proxy if it is nil and there are no answers.
	agents agents.Reach
	// answers are how agents answer, by the pod's name, if there are any; others can't be reached.
	answers map[string]agentAnswer
	// listed, if it is set, changes pods that are listed, as kubelet would meanwhile, and
	// tried is called before an agent is attached.
	listed func(*corev1.PodList)
	tried  func()
	// refusal, if it is set, is the API server's answer to who attaches an agent.
	refusal error
	// isTerminal, isErrTerminal and noColor are those of the surroundings.
	isTerminal, isErrTerminal, noColor bool
	// watch tells the plugin of changes; nil for nobody.
	watch plugin.Watch
	// version is that of the plugin, and in is what standard input has.
	version, in string
	out, errOut bytes.Buffer
	// follows is where it prints instead; nil for out and errOut.
	follows *genericiooptions.IOStreams
}

func newWorld(t testing.TB) *world {
	t.Helper()
	scheme, err := plugin.NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, now: time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC), version: "v1.2.3",
		forbidden: map[string]bool{}, unknown: map[string]bool{}, answers: map[string]agentAnswer{},
	}
	w.Client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects()...).
		WithStatusSubresource(&v1alpha1.NetworkFault{}, &v1alpha1.NetworkTopology{}, &tcv1alpha1.TidbCluster{}).
		WithIndex(&corev1.Pod{}, "status.phase", func(o client.Object) []string { return []string{string(o.(*corev1.Pod).Status.Phase)} }).
		WithInterceptorFuncs(interceptor.Funcs{Get: w.get, List: w.list, Create: w.create, Patch: w.patch, Delete: w.delete, SubResourcePatch: w.attach}).Build()
	uids := map[string]types.UID{}
	for _, o := range objects() {
		if pod, is := o.(*corev1.Pod); is {
			uids[pod.Name] = pod.UID
		}
	}
	w.proxy = newPodProxy(t, w.now, uids)
	return w
}

func (w *world) refuse(kind string) error {
	kind = strings.TrimSuffix(kind, "List")
	if w.unknown[kind] {
		return apierrors.NewNotFound(schema.GroupResource{Resource: kind}, "")
	}
	if w.forbidden[kind] {
		return apierrors.NewForbidden(schema.GroupResource{Resource: kind}, "", fmt.Errorf("no right"))
	}
	return nil
}

func (w *world) kindOf(o any) string {
	if o, is := o.(interface{ GetObjectKind() schema.ObjectKind }); is && o.GetObjectKind().GroupVersionKind().Kind != "" {
		return o.GetObjectKind().GroupVersionKind().Kind
	}
	name := fmt.Sprintf("%T", o)
	return name[strings.LastIndexByte(name, '.')+1:]
}

func (w *world) get(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if err := w.refuse(w.kindOf(o)); err != nil {
		return err
	}
	_, isFault := o.(*v1alpha1.NetworkFault)
	_, isTopology := o.(*v1alpha1.NetworkTopology)
	if w.stumble != nil && (isFault || isTopology) {
		if err := w.stumble(); err != nil {
			return err
		}
	}
	if err := c.Get(ctx, key, o, opts...); err != nil {
		return err
	}
	switch o.(type) {
	case *v1alpha1.NetworkFault, *v1alpha1.NetworkTopology:
		if w.seen != nil {
			w.seen(o)
		}
	}
	return nil
}

func (w *world) list(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
	if err := w.refuse(w.kindOf(list)); err != nil {
		return err
	}
	if o := (&client.ListOptions{}).ApplyOptions(opts); o.Namespace == "" {
		if err := w.refuse("all/" + w.kindOf(list)); err != nil {
			return err
		}
	}
	if err := c.List(ctx, list, opts...); err != nil {
		return err
	}
	if pods, is := list.(*corev1.PodList); is && w.listed != nil {
		w.listed(pods)
	}
	return nil
}

// run runs the plugin in the namespace db. It returns the exit status; what it printed is in
// out and errOut.
func (w *world) run(ctx context.Context, args ...string) int {
	w.t.Helper()
	w.out.Reset()
	w.errOut.Reset()
	streams := genericiooptions.IOStreams{In: strings.NewReader(w.in), Out: &w.out, ErrOut: &w.errOut}
	if w.follows != nil {
		streams = *w.follows
	}
	return plugin.Main(ctx, plugin.Surroundings{
		IOStreams: streams,
		Version:   w.version, IsTerminal: w.isTerminal, IsErrTerminal: w.isErrTerminal, NoColor: w.noColor, Poll: time.Millisecond,
		Now: func() time.Time { return w.now },
		Connect: func(*genericclioptions.ConfigFlags) (*plugin.Connection, error) {
			return &plugin.Connection{Client: w.Client, Agents: w.reach(), Watch: w.watch}, nil
		},
	}, append([]string{"--namespace", "db", "--kubeconfig", "/dev/null"}, args...))
}

// cluster returns the TidbCluster.
func (w *world) cluster() *tcv1alpha1.TidbCluster {
	w.t.Helper()
	var tc tcv1alpha1.TidbCluster
	if err := w.Get(w.t.Context(), types.NamespacedName{Namespace: "db", Name: "basic"}, &tc); err != nil {
		w.t.Fatal(err)
	}
	return &tc
}

// reach returns the way to agents.
func (w *world) reach() agents.Reach {
	switch {
	case w.agents != nil:
		return w.agents
	case len(w.answers) > 0:
		return w
	default:
		return w.proxy.reach(w.t, w)
	}
}

// fault returns a NetworkFault.
func (w *world) fault(name string) *v1alpha1.NetworkFault {
	w.t.Helper()
	var f v1alpha1.NetworkFault
	if err := w.Get(w.t.Context(), types.NamespacedName{Namespace: "db", Name: name}, &f); err != nil {
		w.t.Fatal(err)
	}
	return &f
}

// names returns the names of all faults and topologies, with their specs in short.
func (w *world) names() string {
	w.t.Helper()
	var all strings.Builder
	var faults v1alpha1.NetworkFaultList
	var topologies v1alpha1.NetworkTopologyList
	for _, list := range []client.ObjectList{&topologies, &faults} {
		if err := w.List(w.t.Context(), list); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, o := range topologies.Items {
		fmt.Fprintf(&all, "NetworkTopology %s %s\n", o.Name, w.json(o.Spec))
	}
	for _, o := range faults.Items {
		fmt.Fprintf(&all, "NetworkFault %s %s\n", o.Name, w.json(o.Spec))
	}
	return all.String()
}

func (w *world) json(v any) string {
	w.t.Helper()
	content, err := json.Marshal(v)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(content)
}

// start has a fault be in force since a while, everywhere.
func (w *world) start(name string, since time.Duration) {
	w.t.Helper()
	f := w.fault(name)
	running(&f.Status.Life)
	f.Status.What, f.Status.ClusterUID = "+50ms RTT", "tc"
	f.Status.Selected = []v1alpha1.SelectedPod{{Selector: "pd(leader)", Pod: "basic-pd-1"}}
	f.Status.StartedAt = &metav1.Time{Time: w.now.Add(-since)}
	f.Status.ExpiresAt = &metav1.Time{Time: w.now.Add(10*time.Minute - since)}
	w.write(f)
}

func (w *world) write(o client.Object) {
	w.t.Helper()
	if err := w.Status().Update(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

// install makes the Deployment of the controller or the injector, with an image, again.
func (w *world) install(program, image string) {
	w.t.Helper()
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "tidelay-system", Name: "tidelay-" + program}}
	if err := client.IgnoreNotFound(w.Delete(w.t.Context(), deployment.DeepCopy())); err != nil {
		w.t.Fatal(err)
	}
	deployment.Spec.Template.Spec.Containers = []corev1.Container{{Name: program, Image: image}}
	if err := w.Create(w.t.Context(), deployment); err != nil {
		w.t.Fatal(err)
	}
}

// running makes a life one that is in force everywhere.
func running(life *v1alpha1.Life) {
	life.Phase, life.Reason, life.Applied = v1alpha1.Running, "Applied", "8/8"
	life.Conditions = []metav1.Condition{{Type: v1alpha1.Applied, Status: metav1.ConditionTrue, Reason: "Applied"}}
}

// objects are the TidbCluster, its workloads, pods and nodes.
func objects() []client.Object {
	tc := &tcv1alpha1.TidbCluster{ObjectMeta: metav1.ObjectMeta{
		Namespace: "db", Name: "basic", UID: "tc", Annotations: map[string]string{tidbcluster.InjectAnnotation: "true"},
	}}
	tc.Spec = tcv1alpha1.TidbClusterSpec{
		Version: "v8.5.2", PD: &tcv1alpha1.PDSpec{Replicas: 3, BaseImage: "pingcap/pd"},
		TiKV: &tcv1alpha1.TiKVSpec{Replicas: 3}, TiDB: &tcv1alpha1.TiDBSpec{Replicas: 2},
	}
	tc.Status.PD = tcv1alpha1.PDStatus{Synced: true, Phase: tcv1alpha1.NormalPhase, Members: map[string]tcv1alpha1.PDMember{}}
	tc.Status.TiKV = tcv1alpha1.TiKVStatus{Synced: true, Phase: tcv1alpha1.NormalPhase, Stores: map[string]tcv1alpha1.TiKVStore{}}
	tc.Status.TiDB = tcv1alpha1.TiDBStatus{Phase: tcv1alpha1.NormalPhase, Members: map[string]tcv1alpha1.TiDBMember{}}
	all := []client.Object{tc, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "db"}}}
	for i, zone := range []string{"east", "west", "west"} {
		all = append(all, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%d", i), Labels: map[string]string{corev1.LabelTopologyZone: zone}}})
	}
	for n, part := range []struct {
		component tidbcluster.Component
		replicas  int
	}{{tidbcluster.PD, 3}, {tidbcluster.TiKV, 3}, {tidbcluster.TiDB, 2}} {
		set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{
			Namespace: "db", Name: "basic-" + string(part.component), UID: types.UID("set-" + string(part.component)),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "pingcap.com/v1alpha1", Kind: "TidbCluster", Name: "basic", UID: "tc", Controller: new(true)}},
		}}
		all = append(all, set)
		for i := range part.replicas {
			pod := newPod(set, part.component, i, fmt.Sprintf("10.0.%d.%d", n, i+1))
			all = append(all, pod)
			switch part.component {
			case tidbcluster.PD:
				tc.Status.PD.Members[pod.Name] = tcv1alpha1.PDMember{Name: pod.Name, Health: true}
			case tidbcluster.TiKV:
				tc.Status.TiKV.Stores[fmt.Sprint(i+1)] = tcv1alpha1.TiKVStore{ID: fmt.Sprint(i + 1), PodName: pod.Name, State: tcv1alpha1.TiKVStateUp, LeaderCount: int32(i)}
			default:
				tc.Status.TiDB.Members[pod.Name] = tcv1alpha1.TiDBMember{Name: pod.Name, Health: true}
			}
		}
	}
	tc.Status.PD.Leader = tc.Status.PD.Members["basic-pd-1"]
	return all
}

// newPod returns a pod as it runs, with an agent.
func newPod(set *appsv1.StatefulSet, component tidbcluster.Component, ordinal int, ip string) *corev1.Pod {
	labels := tidbcluster.OperatorLabels()
	labels[tidbcluster.ComponentLabel] = string(component)
	name := fmt.Sprintf("%s-%d", set.Name, ordinal)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "db", Name: name, UID: types.UID(name), Labels: labels,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: set.Name, UID: set.UID, Controller: new(true)}},
		},
		Spec: corev1.PodSpec{NodeName: fmt.Sprintf("node-%d", ordinal), Containers: []corev1.Container{
			{Name: string(component)}, {Name: injection.ContainerName, VolumeMounts: []corev1.VolumeMount{{Name: "tidelay-state"}}},
		}},
	}
	pod.Status.Phase, pod.Status.PodIP = corev1.PodRunning, ip
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{
		{Name: string(component), Ready: true},
		{Name: injection.ContainerName, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
	}
	return pod
}
