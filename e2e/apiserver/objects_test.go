//go:build apiserver

package apiserver

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// Names the manifests fix.
const (
	systemNamespace   = "tidelay-system"
	injectorName      = "tidelay-injector"
	controllerName    = "tidelay-controller"
	configurationName = "tidelay-injector"
	webhookName       = "inject.tidelay.io"
	caSecretName      = "tidelay-injector-ca"
	agentName         = "tidelay-agent"
	agentPort         = 2332
)

// Annotations users set, and the one the injector leaves.
const (
	injectAnnotation     = "tidelay.io/inject"
	componentsAnnotation = "tidelay.io/components"
	statusAnnotation     = "tidelay.io/status"
)

// notInjectedAnnotation is what the injector leaves on a pod that is refused with the
// agent.
const notInjectedAnnotation = "tidelay.io/not-injected"

// managedByLabel is on every object of TiDB Operator.
const managedByLabel = "app.kubernetes.io/managed-by"

// otherUID is no object's.
const otherUID types.UID = "0d1e2f3a-0000-4000-8000-000000000000"

type annotations map[string]string

// optedIn is what a user puts on a TidbCluster.
func optedIn() annotations { return annotations{injectAnnotation: "true"} }

// namespace is a fresh namespace for one test. What is made in it stays until
// the API server ends: no controller here would finish a deletion.
type namespace struct {
	t    *testing.T
	name string
}

func newNamespace(t *testing.T) namespace {
	t.Helper()
	return newNamespaceWith(t, nil)
}

func newNamespaceWith(t *testing.T, labels map[string]string) namespace {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: labels}}
	must(t, world.client.Create(t.Context(), ns))
	n := namespace{t: t, name: ns.Name}
	n.make(&corev1.ServiceAccount{ObjectMeta: n.meta("default", nil)})
	return n
}

// make creates an object, which afterwards has its UID.
func (n namespace) make(object client.Object) {
	n.t.Helper()
	must(n.t, world.client.Create(n.t.Context(), object))
}

// meta is what TiDB Operator writes on everything it makes; its label is the
// one the injector's caches select by.
func (n namespace) meta(name string, owner client.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: n.name, Name: name, OwnerReferences: ownedBy(owner),
		Labels: map[string]string{managedByLabel: "tidb-operator"},
	}
}

// cluster makes a TidbCluster, as users do.
func (n namespace) cluster(name string, a annotations) *unstructured.Unstructured {
	n.t.Helper()
	tc := n.custom("pingcap.com/v1alpha1", "TidbCluster", name, nil, map[string]any{})
	tc.SetAnnotations(a)
	n.make(tc)
	return tc
}

// monitor makes a TidbMonitor of the TidbCluster "basic", and of that name.
func (n namespace) monitor() *unstructured.Unstructured {
	n.t.Helper()
	image := map[string]any{"baseImage": "image", "version": "v1"}
	tm := n.custom("pingcap.com/v1alpha1", "TidbMonitor", "basic", nil, map[string]any{
		"clusters": []any{map[string]any{"name": "basic"}}, "initializer": image, "prometheus": image, "reloader": image,
	})
	n.make(tm)
	return tm
}

// custom returns, without making it, an object of a kind that has no Go type here.
func (n namespace) custom(apiVersion, kind, name string, owner client.Object, spec map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind, "spec": spec}}
	u.SetNamespace(n.name)
	u.SetName(name)
	u.SetLabels(map[string]string{managedByLabel: "tidb-operator"})
	u.SetOwnerReferences(ownedBy(owner))
	return u
}

// statefulSet makes the StatefulSet of a component, as TiDB Operator does.
func (n namespace) statefulSet(name string, owner client.Object) *appsv1.StatefulSet {
	n.t.Helper()
	set := &appsv1.StatefulSet{ObjectMeta: n.meta(name, owner), Spec: appsv1.StatefulSetSpec{
		Selector: selector(name), Template: template(name),
	}}
	n.make(set)
	return set
}

// advancedStatefulSet makes TiKV's as one of the operator's own StatefulSets, which it
// uses instead when its feature gate AdvancedStatefulSet is on.
func (n namespace) advancedStatefulSet(owner client.Object) *unstructured.Unstructured {
	n.t.Helper()
	set := n.custom("apps.pingcap.com/v1", "StatefulSet", "basic-tikv", owner, map[string]any{
		"replicas": int64(1), "serviceName": "basic-tikv", "selector": map[string]any{}, "template": map[string]any{},
	})
	n.make(set)
	return set
}

// discovery makes the Deployment of the discovery service and its ReplicaSet,
// and returns the latter.
func (n namespace) discovery(name string, owner client.Object) *appsv1.ReplicaSet {
	n.t.Helper()
	return n.replicaSet(name+"-5d9c7b8f6d", n.deployment(name, owner))
}

func (n namespace) deployment(name string, owner client.Object) *appsv1.Deployment {
	n.t.Helper()
	deployment := &appsv1.Deployment{ObjectMeta: n.meta(name, owner), Spec: appsv1.DeploymentSpec{
		Selector: selector(name), Template: template(name),
	}}
	n.make(deployment)
	return deployment
}

func (n namespace) replicaSet(name string, owner client.Object) *appsv1.ReplicaSet {
	n.t.Helper()
	set := &appsv1.ReplicaSet{ObjectMeta: n.meta(name, owner), Spec: appsv1.ReplicaSetSpec{
		Selector: selector(name), Template: template(name),
	}}
	n.make(set)
	return set
}

func selector(name string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"set": name}}
}

func template(name string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"set": name}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "image"}}},
	}
}

// pod returns, without making it, the pod that owner's controller would: with
// TiDB Operator's labels and one container named like the component.
func (n namespace) pod(name, component string, owner client.Object, edits ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: n.meta(name, owner),
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: component, Image: "pingcap/" + component}}},
	}
	pod.Labels = map[string]string{
		managedByLabel:                "tidb-operator",
		"app.kubernetes.io/name":      "tidb-cluster",
		"app.kubernetes.io/instance":  "basic",
		"app.kubernetes.io/component": component,
	}
	for _, edit := range edits {
		edit(pod)
	}
	return pod
}

// ownedBy returns the reference a controller puts on what it makes for owner.
func ownedBy(owner client.Object) []metav1.OwnerReference {
	if owner == nil {
		return nil
	}
	kind, err := apiutil.GVKForObject(owner, scheme.Scheme)
	if err != nil {
		panic(err) // a type that is not in the scheme: the test is wrong
	}
	return []metav1.OwnerReference{*metav1.NewControllerRef(owner, kind)}
}
