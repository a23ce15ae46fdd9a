package resolve

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// world is what exists on the API server and what of it the cache has heard.
type world struct {
	server []client.Object
	// cached is what the cache holds instead, nil for the same as server.
	cached []client.Object
	// liveErr fails every live read.
	liveErr error
}

// resolver returns a Resolver of w that counts its live reads.
func (w world) resolver(t *testing.T) (*Resolver, *int) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	scheme.AddKnownTypeWithName(advancedStatefulSetKind(), &metav1.PartialObjectMetadata{})
	cached := w.cached
	if cached == nil {
		cached = w.server
	}
	liveReads := 0
	live := fake.NewClientBuilder().WithScheme(scheme).WithObjects(w.server...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
			liveReads++
			if w.liveErr != nil {
				return w.liveErr
			}
			return c.Get(ctx, key, object, opts...)
		},
	}).Build()
	reader, err := confirm.NewReader(fake.NewClientBuilder().WithScheme(scheme).WithObjects(cached...).Build(), live, rate.NewLimiter(rate.Inf, 0), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return NewResolver(reader), &liveReads
}

// owned makes child a child of owner, with a UID that follows from the name.
func owned[T client.Object](child T, owner metav1.OwnerReference) T {
	child.SetOwnerReferences([]metav1.OwnerReference{owner})
	return child
}

func ref(apiVersion, kind, name string) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: name, UID: uid(kind, name), Controller: new(true)}
}

func uid(kind, name string) types.UID { return types.UID("uid-of-" + kind + "-" + name) }

func object(k kind, namespace, name string) *metav1.PartialObjectMetadata {
	o := metadataOf(k)
	o.Namespace, o.Name, o.UID = namespace, name, uid(k.Kind, name)
	return o
}

// basic returns the TidbCluster of that name.
func basic(annotations map[string]string) *v1alpha1.TidbCluster {
	c := emptyTidbCluster()
	c.Namespace, c.Name, c.UID, c.Annotations = "db", "basic", toBasic.UID, annotations
	return c
}

func pod(component string, owner metav1.OwnerReference) *corev1.Pod {
	return owned(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a-pod", Labels: map[string]string{tidbcluster.ComponentLabel: component}}}, owner)
}

var (
	optedIn       = map[string]string{tidbcluster.InjectAnnotation: "true"}
	toBasic       = ref("pingcap.com/v1alpha1", "TidbCluster", "basic")
	basicPD       = owned(object(statefulSetKind(), "db", "basic-pd"), toBasic)
	podOfPD       = pod("pd", ref("apps/v1", "StatefulSet", "basic-pd"))
	memberPD      = tidbcluster.Membership{Cluster: types.NamespacedName{Namespace: "db", Name: "basic"}, UID: toBasic.UID, Component: tidbcluster.PD, OptIn: tidbcluster.OptIn{Inject: true}}
	otherUID      = types.UID("somebody-else")
	errUnanswered = errors.New("the API server does not answer")
)

func with[T any](value T, change func(*T)) T {
	change(&value)
	return value
}

func but[T client.Object](object T, change func(T)) T {
	changed := object.DeepCopyObject().(T)
	change(changed)
	return changed
}

func TestResolve(t *testing.T) {
	withoutController := with(toBasic, func(r *metav1.OwnerReference) { r.Controller = nil })
	tests := map[string]struct {
		world     world
		pod       *corev1.Pod
		want      tidbcluster.Membership
		wantErr   error
		liveReads int
	}{
		"if the cache knows all owners, answer from it": {
			world: world{server: []client.Object{basicPD, basic(optedIn)}},
			pod:   podOfPD, want: memberPD,
		},
		"if the owner is an advanced StatefulSet, follow it": {
			world: world{server: []client.Object{owned(object(advancedStatefulSetKind(), "db", "basic-pd"), toBasic), basic(optedIn)}},
			pod:   pod("pd", ref("apps.pingcap.com/v1", "StatefulSet", "basic-pd")), want: memberPD,
		},
		"if references name another version, follow them": {
			world: world{server: []client.Object{
				owned(object(statefulSetKind(), "db", "basic-pd"), ref("pingcap.com/v1beta9", "TidbCluster", "basic")),
				basic(optedIn),
			}},
			pod: pod("pd", ref("apps/v1beta2", "StatefulSet", "basic-pd")), want: memberPD,
		},
		"if the pod is discovery's, walk by ReplicaSet and Deployment": {
			world: world{server: []client.Object{
				owned(object(replicaSetKind(), "db", "basic-discovery-5d4f"), ref("apps/v1", "Deployment", "basic-discovery")),
				owned(object(deploymentKind(), "db", "basic-discovery"), toBasic),
				basic(optedIn),
			}},
			pod:  pod("discovery", ref("apps/v1", "ReplicaSet", "basic-discovery-5d4f")),
			want: with(memberPD, func(m *tidbcluster.Membership) { m.Component = tidbcluster.Discovery }),
		},
		"if the cache has heard of nothing yet, read each owner live": {
			world: world{server: []client.Object{basicPD, basic(optedIn)}, cached: []client.Object{}},
			pod:   podOfPD, want: memberPD, liveReads: 2,
		},
		"if the cache has an older object of that name, read it live": {
			world: world{
				server: []client.Object{basicPD, basic(optedIn)},
				cached: []client.Object{but(basicPD, func(o *metav1.PartialObjectMetadata) { o.UID = otherUID }), basic(optedIn)},
			},
			pod: podOfPD, want: memberPD, liveReads: 1,
		},
		"if the cache has not heard of the opt-in, read the TidbCluster live": {
			world: world{server: []client.Object{basicPD, basic(optedIn)}, cached: []client.Object{basicPD, basic(nil)}},
			pod:   podOfPD, want: memberPD, liveReads: 1,
		},
		"if the cache has not heard of the component, read the TidbCluster live": {
			world: world{
				server: []client.Object{basicPD, basic(optedIn)},
				cached: []client.Object{basicPD, basic(map[string]string{tidbcluster.InjectAnnotation: "true", tidbcluster.ComponentsAnnotation: "tikv"})},
			},
			pod: podOfPD, want: memberPD, liveReads: 1,
		},
		"if the TidbCluster is not opted in, say so after one live read": {
			world: world{server: []client.Object{basicPD, basic(nil)}},
			pod:   podOfPD, want: with(memberPD, func(m *tidbcluster.Membership) { m.OptIn = tidbcluster.OptIn{} }), liveReads: 1,
		},
		"if the TidbCluster is being deleted, say so": {
			world: world{server: []client.Object{basicPD, but(basic(optedIn), func(c *v1alpha1.TidbCluster) {
				c.DeletionTimestamp, c.Finalizers = &metav1.Time{Time: time.Unix(1, 0)}, []string{"x/y"}
			})}},
			pod: podOfPD, want: with(memberPD, func(m *tidbcluster.Membership) { m.Deleting = true }),
		},

		"if the owner is gone, it is stale": {
			pod: podOfPD, wantErr: tidbcluster.ErrStaleOwner, liveReads: 1,
		},
		"if the owner was replaced, it is stale": {
			world: world{server: []client.Object{but(basicPD, func(o *metav1.PartialObjectMetadata) { o.UID = otherUID })}},
			pod:   podOfPD, wantErr: tidbcluster.ErrStaleOwner, liveReads: 1,
		},
		"if the TidbCluster was replaced, its reference is stale": {
			world: world{server: []client.Object{basicPD, but(basic(optedIn), func(c *v1alpha1.TidbCluster) { c.UID = otherUID })}},
			pod:   podOfPD, wantErr: tidbcluster.ErrStaleOwner, liveReads: 1,
		},
		"if the owners are in another namespace, they are none of ours": {
			world: world{server: []client.Object{owned(object(statefulSetKind(), "elsewhere", "basic-pd"), toBasic), basic(optedIn)}},
			pod:   podOfPD, wantErr: tidbcluster.ErrStaleOwner, liveReads: 1,
		},
		"if the owner's kind does not exist on the API server, it is stale": {
			world:   world{liveErr: &meta.NoKindMatchError{GroupKind: advancedStatefulSetKind().GroupKind()}},
			pod:     pod("pd", ref("apps.pingcap.com/v1", "StatefulSet", "basic-pd")),
			wantErr: tidbcluster.ErrStaleOwner, liveReads: 1,
		},

		"if the pod has no owner, it is no member": {
			pod: &corev1.Pod{}, wantErr: tidbcluster.ErrNotMember,
		},
		"if the pod's owner is not its controller, it is no member": {
			pod:     pod("pd", with(ref("apps/v1", "StatefulSet", "basic-pd"), func(r *metav1.OwnerReference) { r.Controller = new(false) })),
			wantErr: tidbcluster.ErrNotMember,
		},
		"if the TidbCluster is an owner but not the controller, the pod is no member": {
			world: world{server: []client.Object{owned(object(statefulSetKind(), "db", "basic-pd"), withoutController), basic(optedIn)}},
			pod:   podOfPD, wantErr: tidbcluster.ErrNotMember,
		},
		"if the controller is of another group, the pod is no member": {
			pod: pod("pd", ref("apps.example.com/v1", "StatefulSet", "basic-pd")), wantErr: tidbcluster.ErrNotMember,
		},
		"if the controller's apiVersion cannot be read, the pod is no member": {
			pod: pod("pd", ref("a/b/c", "StatefulSet", "basic-pd")), wantErr: tidbcluster.ErrNotMember,
		},
		"if the controller is a TidbCluster of another group, the pod is no member": {
			world: world{server: []client.Object{owned(object(statefulSetKind(), "db", "basic-pd"), ref("example.com/v1", "TidbCluster", "basic")), basic(optedIn)}},
			pod:   podOfPD, wantErr: tidbcluster.ErrNotMember,
		},
		"if the pod skips the StatefulSet, it is no member": {
			world: world{server: []client.Object{basic(optedIn)}},
			pod:   pod("pd", toBasic), wantErr: tidbcluster.ErrNotMember,
		},
		"if a TidbMonitor owns the StatefulSet, the pod is no member": {
			world: world{server: []client.Object{
				owned(object(statefulSetKind(), "db", "basic-monitor"), ref("pingcap.com/v1alpha1", "TidbMonitor", "basic")),
				basic(optedIn),
			}},
			pod: pod("monitor", ref("apps/v1", "StatefulSet", "basic-monitor")), wantErr: tidbcluster.ErrNotMember,
		},
		"if a Job owns the pod, it is no member": {
			pod: pod("initializer", ref("batch/v1", "Job", "basic-tidb-initializer")), wantErr: tidbcluster.ErrNotMember,
		},
		"if ReplicaSets own each other in a circle, stop at the first": {
			world: world{server: []client.Object{
				owned(object(replicaSetKind(), "db", "a"), ref("apps/v1", "ReplicaSet", "b")),
				owned(object(replicaSetKind(), "db", "b"), ref("apps/v1", "ReplicaSet", "a")),
			}},
			pod: pod("discovery", ref("apps/v1", "ReplicaSet", "a")), wantErr: tidbcluster.ErrNotMember,
		},
		"if StatefulSets own each other in a circle, stop at the first": {
			world: world{server: []client.Object{owned(object(statefulSetKind(), "db", "basic-pd"), ref("apps/v1", "StatefulSet", "basic-pd"))}},
			pod:   podOfPD, wantErr: tidbcluster.ErrNotMember,
		},
		"if the workload is no known component, the pod is no member": {
			world: world{server: []client.Object{owned(object(statefulSetKind(), "db", "basic-extra"), toBasic), basic(optedIn)}},
			pod:   pod("pd", ref("apps/v1", "StatefulSet", "basic-extra")), wantErr: tidbcluster.ErrNotMember,
		},
		"if the workload is named after another cluster, the pod is no member": {
			world: world{server: []client.Object{owned(object(statefulSetKind(), "db", "other-pd"), toBasic), basic(optedIn)}},
			pod:   pod("pd", ref("apps/v1", "StatefulSet", "other-pd")), wantErr: tidbcluster.ErrNotMember,
		},
		"if the workload is named like a component alone, the pod is no member": {
			world: world{server: []client.Object{owned(object(statefulSetKind(), "db", "pd"), toBasic), basic(optedIn)}},
			pod:   pod("pd", ref("apps/v1", "StatefulSet", "pd")), wantErr: tidbcluster.ErrNotMember,
		},
		"if the pod's label claims another component, the pod is no member": {
			world: world{server: []client.Object{basicPD, basic(optedIn)}},
			pod:   pod("tikv", ref("apps/v1", "StatefulSet", "basic-pd")), wantErr: tidbcluster.ErrNotMember,
		},

		"if a live read fails, pass its error on": {
			world: world{cached: []client.Object{}, liveErr: errUnanswered},
			pod:   podOfPD, wantErr: errUnanswered, liveReads: 1,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			resolver, liveReads := test.world.resolver(t)
			got, err := resolver.Resolve(t.Context(), "db", test.pod)
			if !errors.Is(err, test.wantErr) {
				t.Fatalf("error %v, want %v", err, test.wantErr)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(tidbcluster.OptIn{})); diff != "" {
				t.Errorf("membership (-want +got):\n%s", diff)
			}
			if *liveReads != test.liveReads {
				t.Errorf("%d live reads, want %d", *liveReads, test.liveReads)
			}
		})
	}
}

// Walk tells of each owner on the way what was found, and comes to the answer of Resolve.
func TestWalk(t *testing.T) {
	found := func(ref metav1.OwnerReference) Hop { return Hop{Owner: ref, Finding: Found, UID: ref.UID} }
	toPD := ref("apps/v1", "StatefulSet", "basic-pd")
	toDiscovery, toDeployment := ref("apps/v1", "ReplicaSet", "basic-discovery-5d4f"), ref("apps/v1", "Deployment", "basic-discovery")
	toJob := ref("batch/v1", "Job", "initializer")
	tests := map[string]struct {
		world world
		pod   *corev1.Pod
		want  []Hop
	}{
		"all owners are there": {
			world: world{server: []client.Object{basicPD, basic(optedIn)}},
			pod:   podOfPD, want: []Hop{found(toPD), found(toBasic)},
		},
		"three owners": {
			world: world{server: []client.Object{
				owned(object(replicaSetKind(), "db", "basic-discovery-5d4f"), toDeployment),
				owned(object(deploymentKind(), "db", "basic-discovery"), toBasic), basic(nil),
			}},
			pod: pod("discovery", toDiscovery), want: []Hop{found(toDiscovery), found(toDeployment), found(toBasic)},
		},
		"the first is gone": {pod: podOfPD, want: []Hop{{Owner: toPD, Finding: Gone}}},
		"the first was replaced": {
			world: world{server: []client.Object{but(basicPD, func(o *metav1.PartialObjectMetadata) { o.UID = otherUID })}},
			pod:   podOfPD, want: []Hop{{Owner: toPD, Finding: Replaced, UID: otherUID}},
		},
		"the last is gone": {
			world: world{server: []client.Object{basicPD}},
			pod:   podOfPD, want: []Hop{found(toPD), {Owner: toBasic, Finding: Gone}},
		},
		"the workload is no component": {
			world: world{server: []client.Object{owned(object(statefulSetKind(), "db", "basic-pd"), toBasic), basic(optedIn)}},
			pod:   pod("tikv", toPD), want: []Hop{found(toPD), {Owner: toBasic, Finding: Foreign}},
		},
		"the owner is of another kind": {pod: pod("pd", toJob), want: []Hop{{Owner: toJob, Finding: Foreign}}},
		"no owner":                     {pod: &corev1.Pod{}},
		"the first can't be read": {
			world: world{cached: []client.Object{}, liveErr: errUnanswered},
			pod:   podOfPD, want: []Hop{{Owner: toPD, Finding: Unread, Err: errUnanswered}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			resolver, _ := test.world.resolver(t)
			var got []Hop
			member, err := resolver.Walk(t.Context(), "db", test.pod, func(h Hop) { got = append(got, h) })
			if diff := cmp.Diff(test.want, got, cmpopts.EquateErrors()); diff != "" {
				t.Errorf("hops (-want +got):\n%s", diff)
			}
			again, wantErr := resolver.Resolve(t.Context(), "db", test.pod)
			if member.UID != again.UID || fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Errorf("member of %q, %v; Resolve says %q, %v", member.UID, err, again.UID, wantErr)
			}
		})
	}
}

func TestWorkload(t *testing.T) {
	for want, owner := range map[string]metav1.OwnerReference{
		"basic-pd": ref("apps/v1", "StatefulSet", "basic-pd"), "basic-discovery": ref("apps/v1", "ReplicaSet", "basic-discovery-5d4f"), "": ref("batch/v1", "Job", "a"),
	} {
		if got := Workload(pod("pd", owner)); got != want {
			t.Errorf("workload of a pod of %s %s: %q, want %q", owner.Kind, owner.Name, got, want)
		}
	}
}
