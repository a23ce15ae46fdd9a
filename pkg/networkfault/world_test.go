package networkfault

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/networkfault/keeper"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

var basic = types.NamespacedName{Namespace: "db", Name: "basic"}

// world is an API server with the TidbCluster basic of 3 PD, 3 TiKV and 2 TiDB, and a
// Reconciler. Its agents do at once what they are told, unless the keeper is another one.
type world struct {
	t *testing.T
	client.Client
	*Reconciler
	events *recorder
	agents *obedient
	pairs  *measured
	// refuseWrites, if it is set, decides about each write of a status.
	refuseWrites func(client.Object) error
	writes       int
	now          time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, tcv1alpha1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{t: t, events: &recorder{notes: map[string][]string{}}, agents: &obedient{held: map[types.UID][]decide.Fault{}}, pairs: &measured{}, now: time.Unix(1_000_000, 0)}
	w.Client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects()...).
		WithStatusSubresource(&v1alpha1.NetworkFault{}, &v1alpha1.NetworkTopology{}, &tcv1alpha1.TidbCluster{}).
		WithIndex(&corev1.Pod{}, byCluster, clusterOfPod).WithIndex(&v1alpha1.NetworkFault{}, byCluster, clusterOfObject).
		WithIndex(&v1alpha1.NetworkTopology{}, byCluster, clusterOfObject).
		WithInterceptorFuncs(interceptor.Funcs{SubResourceUpdate: w.update}).Build()
	w.Reconciler = w.newReconciler(w.agents)
	return w
}

func (w *world) newReconciler(k Keeper) *Reconciler {
	w.t.Helper()
	r, err := New(Options{
		Reader: w, Status: w.Status(), Resolver: byOwner{w}, Keeper: k, Surveyor: w.pairs, Events: w.events, Metrics: prometheus.NewRegistry(), Log: logr.Discard(),
		Now: func() time.Time { return w.now },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// update is the client's update of a status.
func (w *world) update(ctx context.Context, c client.Client, subresource string, object client.Object, opts ...client.SubResourceUpdateOption) error {
	if len(clusterOfObject(object)) > 0 {
		w.writes++
		if w.refuseWrites != nil {
			if err := w.refuseWrites(object); err != nil {
				return err
			}
		}
	}
	return c.SubResource(subresource).Update(ctx, object, opts...)
}

// byOwner resolves pods by the name of their owner alone.
type byOwner struct{ client.Reader }

func (b byOwner) Resolve(ctx context.Context, namespace string, pod *corev1.Pod) (tidbcluster.Membership, error) {
	name := clusterOfPod(pod)
	if len(name) == 0 {
		return tidbcluster.Membership{}, tidbcluster.ErrNotMember
	}
	key := types.NamespacedName{Namespace: namespace, Name: name[0]}
	var cluster tcv1alpha1.TidbCluster
	if err := b.Get(ctx, key, &cluster); err != nil {
		if client.IgnoreNotFound(err) == nil {
			err = tidbcluster.ErrStaleOwner
		}
		return tidbcluster.Membership{}, err
	}
	return tidbcluster.Membership{Cluster: key, UID: cluster.UID, Component: tidbcluster.Component(pod.Labels[tidbcluster.ComponentLabel])}, nil
}

// obedient is a Keeper of agents that do at once what they are told.
type obedient struct {
	held map[types.UID][]decide.Fault
	sets int
	// failed and refused are what is told of the agents of all pods.
	failed  string
	refuses bool
}

func (o *obedient) Set(_ types.NamespacedName, targets []keeper.Target) {
	o.sets++
	o.held = map[types.UID][]decide.Fault{}
	for _, t := range targets {
		o.held[t.UID] = t.Faults
	}
}

func (o *obedient) States(types.NamespacedName) map[types.UID]decide.AgentState {
	states := map[types.UID]decide.AgentState{}
	for uid, faults := range o.held {
		state := decide.AgentState{Failed: o.failed, Known: o.failed == ""}
		for _, f := range faults {
			if o.refuses {
				state.Refused = append(state.Refused, f.Fault)
			} else if o.failed == "" {
				state.Holds = append(state.Holds, f.Fault)
			}
		}
		states[uid] = state
	}
	return states
}

// count returns how many agents hold faults.
func (o *obedient) count() int {
	n := 0
	for _, faults := range o.held {
		if len(faults) > 0 {
			n++
		}
	}
	return n
}

// recorder keeps Events.
type recorder struct {
	all []string
	// notes has what was said of the same objects for the same reason, which is made one
	// Event with the words of the first.
	notes map[string][]string
}

func (r *recorder) Eventf(regarding, related runtime.Object, kind, reason, _, note string, args ...any) {
	name, note := "TidbCluster", fmt.Sprintf(note, args...)
	if of := regarding.(*corev1.ObjectReference); of.Kind != name {
		name = of.Name
	}
	r.all = append(r.all, strings.Join([]string{name, kind, reason, note}, " "))
	if key := fmt.Sprint(regarding, related, reason); !slices.Contains(r.notes[key], note) {
		r.notes[key] = append(r.notes[key], note)
	}
}

// take returns the Events since the last call.
func (r *recorder) take() []string {
	all := r.all
	r.all = nil
	return all
}

// objects are the TidbCluster and its pods, all healthy, with pd-1 as the leader.
func objects() []client.Object {
	tc := &tcv1alpha1.TidbCluster{ObjectMeta: metav1.ObjectMeta{
		Namespace: basic.Namespace, Name: basic.Name, UID: "tc", Annotations: map[string]string{tidbcluster.InjectAnnotation: "true"},
	}}
	tc.Spec = tcv1alpha1.TidbClusterSpec{
		Version: "v8.5.2", PD: &tcv1alpha1.PDSpec{Replicas: 3, BaseImage: "pingcap/pd"},
		TiKV: &tcv1alpha1.TiKVSpec{Replicas: 3}, TiDB: &tcv1alpha1.TiDBSpec{Replicas: 2},
	}
	tc.Status.PD = tcv1alpha1.PDStatus{Synced: true, Phase: tcv1alpha1.NormalPhase, Members: map[string]tcv1alpha1.PDMember{}}
	tc.Status.TiKV = tcv1alpha1.TiKVStatus{Synced: true, Phase: tcv1alpha1.NormalPhase, Stores: map[string]tcv1alpha1.TiKVStore{}}
	tc.Status.TiDB = tcv1alpha1.TiDBStatus{Phase: tcv1alpha1.NormalPhase, Members: map[string]tcv1alpha1.TiDBMember{}}
	all := []client.Object{tc}
	for n, part := range []struct {
		component tidbcluster.Component
		replicas  int
	}{{tidbcluster.PD, 3}, {tidbcluster.TiKV, 3}, {tidbcluster.TiDB, 2}} {
		for i := range part.replicas {
			pod := newPod(part.component, i, fmt.Sprintf("10.0.%d.%d", n, i+1))
			all = append(all, pod)
			switch part.component {
			case tidbcluster.PD:
				tc.Status.PD.Members[pod.Name] = tcv1alpha1.PDMember{Name: pod.Name, Health: true}
			case tidbcluster.TiKV:
				tc.Status.TiKV.Stores[fmt.Sprint(i+1)] = tcv1alpha1.TiKVStore{ID: fmt.Sprint(i + 1), PodName: pod.Name, State: tcv1alpha1.TiKVStateUp}
			default:
				tc.Status.TiDB.Members[pod.Name] = tcv1alpha1.TiDBMember{Name: pod.Name, Health: true}
			}
		}
	}
	tc.Status.PD.Leader = tc.Status.PD.Members["basic-pd-1"]
	return all
}

// newPod returns a pod as it runs, with an agent.
func newPod(component tidbcluster.Component, ordinal int, ip string) *corev1.Pod {
	set := "basic-" + string(component)
	name := fmt.Sprintf("%s-%d", set, ordinal)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: basic.Namespace, Name: name, UID: types.UID(name + "-uid"),
			Labels:          map[string]string{tidbcluster.ComponentLabel: string(component)},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: set, UID: "set", Controller: new(true)}},
		},
		Spec: corev1.PodSpec{NodeName: "node", Containers: []corev1.Container{{Name: string(component)}, agent()}},
	}
	pod.Status.Phase, pod.Status.PodIP = corev1.PodRunning, ip
	pod.Status.PodIPs = []corev1.PodIP{{IP: ip}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: string(component), Ready: true}, {Name: injection.ContainerName}}
	return pod
}

func agent() corev1.Container {
	return corev1.Container{Name: injection.ContainerName, Args: []string{"--max-duration=1h0m0s"}, VolumeMounts: []corev1.VolumeMount{{Name: "tidelay-state"}}}
}

// attach gives a pod agents that were attached one after the other, instead of the injected one.
func attach(pod *corev1.Pod, states ...corev1.ContainerState) {
	pod.Spec.Containers = pod.Spec.Containers[:1]
	for i, state := range states {
		c := injection.Config{}.Attachment(pod, time.Duration(i+1)*time.Hour)
		pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, c)
		pod.Status.EphemeralContainerStatuses = append(pod.Status.EphemeralContainerStatuses, corev1.ContainerStatus{Name: c.Name, ContainerID: c.Name, State: state})
	}
}

// fault creates a NetworkFault. Its spec is JSON without its cluster.
func (w *world) fault(name, spec string) {
	w.t.Helper()
	f := &v1alpha1.NetworkFault{ObjectMeta: metav1.ObjectMeta{Namespace: basic.Namespace, Name: name, UID: types.UID(name), Generation: 1, CreationTimestamp: metav1.Time{Time: w.now}}}
	if err := json.Unmarshal([]byte(spec), &f.Spec); err != nil {
		w.t.Fatal(err)
	}
	f.Spec.Cluster = basic.Name
	if f.Spec.To == nil {
		f.Spec.To = []v1alpha1.Selector{"others"}
	}
	if err := w.Create(w.t.Context(), f); err != nil {
		w.t.Fatal(err)
	}
}

// reconcile reconciles the TidbCluster until nothing is written any more.
func (w *world) reconcile() ctrl.Result {
	w.t.Helper()
	for range 10 {
		before := w.writes
		result, err := w.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: basic})
		if err != nil {
			w.t.Fatal(err)
		}
		if w.writes == before {
			return result
		}
	}
	w.t.Fatal("it does not settle")
	return ctrl.Result{}
}

func (w *world) status(name string) v1alpha1.NetworkFaultStatus {
	w.t.Helper()
	var f v1alpha1.NetworkFault
	if err := w.Get(w.t.Context(), types.NamespacedName{Namespace: basic.Namespace, Name: name}, &f); err != nil {
		w.t.Fatal(err)
	}
	return f.Status
}

// change changes an object of the API server, and its status unless the Reconciler writes that.
func change[T client.Object](w *world, name string, object T, f func(T)) {
	w.t.Helper()
	if err := w.Get(w.t.Context(), types.NamespacedName{Namespace: basic.Namespace, Name: name}, object); err != nil {
		w.t.Fatal(err)
	}
	f(object)
	changed := object.DeepCopyObject().(client.Object)
	if err := w.Update(w.t.Context(), object); err != nil {
		w.t.Fatal(err)
	}
	if len(clusterOfObject(changed)) == 0 {
		changed.SetResourceVersion(object.GetResourceVersion())
		if err := w.Status().Update(w.t.Context(), changed); err != nil {
			w.t.Fatal(err)
		}
	}
}
