//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	pingcapv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/e2e-framework/klient/k8s"
	"sigs.k8s.io/e2e-framework/klient/k8s/resources"
	"sigs.k8s.io/e2e-framework/klient/wait"
)

type object = k8s.Object

// Names of what makeWorld creates.
const (
	annotated = "annotated"
	plain     = "plain"

	bystander    = "bystander"   // a Deployment's and a StatefulSet's
	pinger       = "pinger"      // a pod among pods
	nodePinger   = "node-pinger" // a pod on the node's network
	agentName    = "tidelay-agent"
	operatorName = "tidb-cluster" // app.kubernetes.io/name of TiDB Operator's pods
)

// Annotations of a TidbCluster: that it asks for agents, and how long they hold a fault that
// nobody renews.
const (
	optIn       = "tidelay.io/inject"
	maxDuration = "tidelay.io/max-duration"
)

// components are those every TidbCluster of the tests has, in the order in which
// TiDB Operator restarts them.
func components() []string { return []string{"discovery", "pd", "tikv", "tidb"} }

// annotatedTiKVs are as many as TiDB Operator needs to move leaders away from
// one before it restarts. Of everything else there is one.
const annotatedTiKVs = 2

// podsOf says how many pods a cluster has.
func podsOf(cluster string) int {
	if cluster == annotated {
		return len(components()) - 1 + annotatedTiKVs
	}
	return len(components())
}

func (w *world) clusters() []object {
	return []object{
		w.tidbCluster(annotated, size{pd: 1, tikv: annotatedTiKVs, tidb: 1}, map[string]string{optIn: "true"}),
		w.tidbCluster(plain, size{pd: 1, tikv: 1, tidb: 1}, nil),
	}
}

// size is how many pods of each component a TidbCluster has.
type size struct{ pd, tikv, tidb, tiflash, ticdc int32 }

// tidbCluster returns the TidbCluster with a name, without TiFlash and TiCDC. TiDB Operator
// replaces none of its pods.
func (w *world) tidbCluster(name string, s size, annotations map[string]string) *pingcapv1alpha1.TidbCluster {
	storage := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	component := func(image string) pingcapv1alpha1.ComponentSpec {
		return pingcapv1alpha1.ComponentSpec{Version: &dbVersion, Image: image + ":" + dbVersion}
	}
	return &pingcapv1alpha1.TidbCluster{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace, Annotations: annotations},
		Spec: pingcapv1alpha1.TidbClusterSpec{
			Version: dbVersion, Timezone: "UTC", EnableDynamicConfiguration: new(true),
			PVReclaimPolicy:      new(corev1.PersistentVolumeReclaimDelete),
			ConfigUpdateStrategy: pingcapv1alpha1.ConfigUpdateStrategyRollingUpdate,
			Discovery:            pingcapv1alpha1.DiscoverySpec{ComponentSpec: &pingcapv1alpha1.ComponentSpec{}},
			PD: &pingcapv1alpha1.PDSpec{
				ComponentSpec: component("pingcap/pd"), Replicas: s.pd, MaxFailoverCount: new(int32(0)), Config: pingcapv1alpha1.NewPDConfig(),
				ResourceRequirements: corev1.ResourceRequirements{Requests: storage}, StorageClassName: &storageClass,
			},
			TiKV: &pingcapv1alpha1.TiKVSpec{
				ComponentSpec: component("pingcap/tikv"), Replicas: s.tikv, MaxFailoverCount: new(int32(0)), Config: pingcapv1alpha1.NewTiKVConfig(),
				ResourceRequirements: corev1.ResourceRequirements{Requests: storage}, StorageClassName: &storageClass,
			},
			TiDB: &pingcapv1alpha1.TiDBSpec{
				ComponentSpec: component("pingcap/tidb"), Replicas: s.tidb, MaxFailoverCount: new(int32(0)), Config: pingcapv1alpha1.NewTiDBConfig(),
				SeparateSlowLog: new(false), Service: &pingcapv1alpha1.TiDBServiceSpec{ServiceSpec: pingcapv1alpha1.ServiceSpec{Type: corev1.ServiceTypeClusterIP}},
			},
		},
	}
}

// bystanders carry TiDB Operator's own labels, to look as much like its pods as
// anything can without being owned by a TidbCluster. They are of a component that the
// TidbCluster has not: by its labels alone TiDB Operator would take a pod for a TiKV
// without a volume, and every sync of the TidbCluster would fail.
func (w *world) bystanders() []object {
	labels := func(app string) map[string]string {
		return map[string]string{
			"app": app, "app.kubernetes.io/name": operatorName, "app.kubernetes.io/managed-by": "tidb-operator",
			"app.kubernetes.io/instance": annotated, "app.kubernetes.io/component": "tiproxy",
		}
	}
	spec := corev1.PodSpec{Containers: []corev1.Container{pingerContainer()}}
	onNode := spec
	onNode.HostNetwork = true
	template := func(app string) corev1.PodTemplateSpec {
		return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels(app)}, Spec: spec}
	}
	selector := func(app string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
	}
	meta := metav1.ObjectMeta{Name: bystander, Namespace: namespace}
	return []object{
		&appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: selector("deployment"), Template: template("deployment")}},
		&appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Selector: selector("statefulset"), Template: template("statefulset")}},
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: pinger, Namespace: namespace}, Spec: spec},
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: nodePinger, Namespace: namespace}, Spec: onNode},
	}
}

func isReady(o k8s.Object) bool {
	tc, ok := o.(*pingcapv1alpha1.TidbCluster)
	return ok && slices.ContainsFunc(tc.Status.Conditions, func(c pingcapv1alpha1.TidbClusterCondition) bool {
		return c.Type == pingcapv1alpha1.TidbClusterReady && c.Status == corev1.ConditionTrue
	})
}

// waitForPods waits until every pod of the namespace is ready, and there are as many as
// are wanted.
func (w *world) waitForPods(ctx context.Context, want int) error {
	return w.poll(ctx, func(ctx context.Context) error {
		var pods corev1.PodList
		if err := w.List(ctx, &pods); err != nil {
			return err
		}
		if len(pods.Items) != want {
			return fmt.Errorf("%d pods, want %d", len(pods.Items), want)
		}
		for _, pod := range pods.Items {
			if !podReady(pod) {
				return fmt.Errorf("pod %s is not ready", pod.Name)
			}
		}
		return nil
	})
}

// poll waits until check has no error, and reports the last one it had.
func (w *world) poll(ctx context.Context, check func(context.Context) error) error {
	var last error
	err := wait.For(func(ctx context.Context) (bool, error) {
		last = check(ctx)
		return last == nil, nil
	}, wait.WithContext(ctx), wait.WithTimeout(patient), wait.WithInterval(500*time.Millisecond), wait.WithImmediate())
	if err != nil {
		return fmt.Errorf("%w: %w", err, last)
	}
	return nil
}

func podReady(pod corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// pod returns the first pod of a cluster's component, once it is ready.
func (w *world) pod(ctx context.Context, t *testing.T, cluster, component string) corev1.Pod {
	t.Helper()
	return w.newPod(ctx, t, cluster, component, "")
}

// newPod is pod, and not the one with the UID old.
func (w *world) newPod(ctx context.Context, t *testing.T, cluster, component string, old string) corev1.Pod {
	t.Helper()
	var found corev1.Pod
	selector := fmt.Sprintf("app.kubernetes.io/instance=%s,app.kubernetes.io/component=%s,!app,apps.kubernetes.io/pod-index notin (1)", cluster, component)
	err := w.poll(ctx, func(ctx context.Context) error {
		var pods corev1.PodList
		if err := w.List(ctx, &pods, resources.WithLabelSelector(selector)); err != nil {
			return err
		}
		if len(pods.Items) != 1 || string(pods.Items[0].UID) == old || !podReady(pods.Items[0]) {
			return fmt.Errorf("%d pods of %s %s, want one that is new and ready", len(pods.Items), cluster, component)
		}
		found = pods.Items[0]
		return nil
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, w.describe(ctx))
	}
	return found
}

// agents counts the agent's containers in a pod.
func agents(pod corev1.Pod) int {
	count := 0
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name == agentName {
			count++
		}
	}
	return count
}
