package missed

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/injection/gather"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// world is a Checker and what it works on.
type world struct {
	t       *testing.T
	client  client.Client
	checker *Checker
	events  []string
	log     strings.Builder
	patches int
	// listErr fails every list of pods.
	listErr error
	// eventsErr fails every list of Events, and eventLists counts them.
	eventsErr  error
	eventLists int
	// image is what is known against the agent's image.
	image string
	// level is the Pod Security level that the namespace enforces.
	level string
	// readErr says that what is kept in caches can't be read.
	readErr error
	// writeErr fails every patch.
	writeErr error
	// excluded has the webhook leave the namespace out.
	excluded bool
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t}
	webhook := installed(certificateOf(t, true, time.Now()))
	webhook.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"leave-out": "false"}}
	hook := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "tidelay-injector"},
		Webhooks:   []admissionregistrationv1.MutatingWebhook{webhook},
	}
	endpoints := &discoveryv1.EndpointSlice{Endpoints: []discoveryv1.Endpoint{{}}}
	endpoints.Namespace, endpoints.Name = injector.Namespace, "tidelay-injector-x"
	endpoints.Labels = map[string]string{discoveryv1.LabelServiceName: injector.Name}
	reason := func(o client.Object) []string { return []string{o.(*corev1.Event).Reason} }
	w.client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithObjects(hook, endpoints).WithIndex(&corev1.Event{}, "reason", reason).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			w.patches++
			if w.writeErr != nil {
				return w.writeErr
			}
			return c.Patch(ctx, o, p, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			if _, pods := l.(*corev1.PodList); pods && w.listErr != nil {
				return w.listErr
			}
			if _, events := l.(*corev1.EventList); events {
				w.eventLists++
				if w.eventsErr != nil {
					return w.eventsErr
				}
			}
			return c.List(ctx, l, opts...)
		},
	}).Build()
	checker, err := New(Options{
		Interval: time.Minute,
		Ready:    func() error { return nil },
		Readable: func(context.Context) error { return w.readErr },
		Webhook:  "tidelay-injector",
		Service:  injector,
		Clusters: w.client, Live: w.client, Namespaces: w, Events: w,
		Gatherer: &gather.Gatherer{Config: config, Resolver: w, Namespaces: w, Images: w},
		Metrics:  prometheus.NewPedanticRegistry(),
		Log:      funcr.New(func(prefix, args string) { fmt.Fprintln(&w.log, prefix, args) }, funcr.Options{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.checker = checker
	return w
}

func config() injection.Config {
	return injection.Config{Image: "a", PullPolicy: corev1.PullNever, Resources: injection.DefaultResources()}
}

// OperatorVersion is never needed for a reason.
func (w *world) OperatorVersion(context.Context, types.NamespacedName) (string, error) {
	w.t.Error("the operator's version was read")
	return "", nil
}

// Resolve takes a pod's label for the name of its TidbCluster.
func (w *world) Resolve(ctx context.Context, namespace string, pod *corev1.Pod) (tidbcluster.Membership, error) {
	if pod.Labels["of"] == "panic" {
		panic("impossible")
	}
	cluster := &v1alpha1.TidbCluster{}
	key := types.NamespacedName{Namespace: namespace, Name: pod.Labels["of"]}
	if err := w.client.Get(ctx, key, cluster); err != nil {
		return tidbcluster.Membership{}, tidbcluster.ErrNotMember
	}
	return tidbcluster.Membership{
		Cluster: key, UID: cluster.UID, Component: tidbcluster.TiKV, OptIn: tidbcluster.ParseOptIn(cluster.Annotations),
	}, nil
}

// Labels has the namespace "db" left out where the world says so.
func (w *world) Labels(context.Context, string) (map[string]string, error) {
	return map[string]string{"leave-out": strconv.FormatBool(w.excluded)}, nil
}

func (w *world) Problem(string, injection.Config) (problem injection.ImageProblem) {
	if w.image != "" {
		problem = injection.ImageProblem{Image: "tidelay/agent:v1", Detail: w.image}
	}
	return problem
}

func (w *world) EnforcedLevel(context.Context, string) (string, error) { return w.level, nil }

func (w *world) Eventf(regarding, _ runtime.Object, eventType, reason, action, note string, args ...any) {
	cluster := regarding.(*corev1.ObjectReference)
	w.events = append(w.events, fmt.Sprintf("%s %s %s %s: %s", eventType, reason, cluster.Name, action, fmt.Sprintf(note, args...)))
}

// conditions are those of a TidbCluster, each as "type status reason".
func (w *world) conditions(name string) []string {
	w.t.Helper()
	cluster := &v1alpha1.TidbCluster{}
	if err := w.client.Get(w.t.Context(), types.NamespacedName{Namespace: "db", Name: name}, cluster); err != nil {
		w.t.Fatal(err)
	}
	var all []string
	for _, c := range cluster.Status.Conditions {
		all = append(all, fmt.Sprintf("%s %s %s", c.Type, c.Status, c.Reason))
	}
	return all
}

// message is that of our condition of a TidbCluster.
func (w *world) message(name string) string {
	w.t.Helper()
	cluster := &v1alpha1.TidbCluster{}
	if err := w.client.Get(w.t.Context(), types.NamespacedName{Namespace: "db", Name: name}, cluster); err != nil {
		w.t.Fatal(err)
	}
	if own := ownCondition(cluster); own != nil {
		return own.Message
	}
	return ""
}

func (w *world) lastSuccess() float64 {
	return testutil.ToFloat64(w.checker.metrics.last.WithLabelValues())
}

func (w *world) wantConditions(name string, want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.conditions(name)); diff != "" {
		w.t.Errorf("conditions of %s (-want +got):\n%s", name, diff)
	}
}

func (w *world) wantGauge(want string) {
	w.t.Helper()
	if want != "" {
		want = "# HELP tidelay_missed_pods Running pods that would carry the agent if they were made now, and do not.\n# TYPE tidelay_missed_pods gauge\n" + want
	}
	if err := testutil.CollectAndCompare(w.checker.metrics.missed, strings.NewReader(want)); err != nil {
		w.t.Error(err)
	}
}

func (w *world) annotate(name, value string) {
	w.t.Helper()
	cluster := &v1alpha1.TidbCluster{}
	if err := w.client.Get(w.t.Context(), types.NamespacedName{Namespace: "db", Name: name}, cluster); err != nil {
		w.t.Fatal(err)
	}
	cluster.Annotations = map[string]string{tidbcluster.InjectAnnotation: value}
	if err := w.client.Update(w.t.Context(), cluster); err != nil {
		w.t.Fatal(err)
	}
}

func cluster(name, inject string) *v1alpha1.TidbCluster {
	c := &v1alpha1.TidbCluster{}
	c.Namespace, c.Name, c.UID = "db", name, types.UID("uid-of-"+name)
	c.Annotations = map[string]string{tidbcluster.InjectAnnotation: inject}
	c.Status.Conditions = []v1alpha1.TidbClusterCondition{{Type: v1alpha1.TidbClusterReady, Status: corev1.ConditionTrue, Reason: "Ready"}}
	return c
}

func pod(name, of string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{}
	p.Namespace, p.Name = "db", name
	p.Labels = tidbcluster.OperatorLabels()
	p.Labels["of"] = of
	p.Spec.Containers = []corev1.Container{{Name: "tikv"}}
	for _, c := range change {
		c(p)
	}
	return p
}

func injected(p *corev1.Pod) {
	p.Annotations = map[string]string{injection.StatusAnnotation: "{}"}
	p.Spec.Containers = append(p.Spec.Containers, injectedContainer())
}

func injectedContainer() corev1.Container {
	return corev1.Container{
		Name: injection.ContainerName, Image: "tidelay/agent:v1", VolumeMounts: []corev1.VolumeMount{{Name: "tidelay-state", MountPath: "/run/tidelay"}},
	}
}

func nativeContainer() corev1.Container {
	c := injectedContainer()
	c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	return c
}

// attached has an agent be attached to a pod, with what kubelet says of it.
func attached(state corev1.ContainerState) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		agent := injection.Config{Image: "tidelay/agent:v1"}.Attachment(p, time.Hour)
		p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, agent)
		p.Status.EphemeralContainerStatuses = append(p.Status.EphemeralContainerStatuses, corev1.ContainerStatus{Name: agent.Name, State: state})
	}
}

func done(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }

// operators is the condition of TiDB Operator.
const operators = "Ready True Ready"
