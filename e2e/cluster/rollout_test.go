//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pingcapv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/e2e-framework/klient/k8s"
	"sigs.k8s.io/e2e-framework/klient/k8s/resources"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
)

// restartedAt is the annotation by which users restart a cluster.
const restartedAt = "tidb.pingcap.com/restartedAt"

// TiDB Operator restarts one TiKV after the other, once its leaders have gone,
// and goes on when the new pod is ready: an agent must not be in its way.
func TestRollingRestart(t *testing.T) {
	theClaims.sideBySide(t, needs(theInjector), changes(annotated))
	testEnv.Test(t, features.New("TiKV of the annotated cluster").
		Assess("restarts with one agent in each pod", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			evicted := theWorld.watchEvictions(ctx, t)
			pods := theWorld.restart(ctx, t, annotated, "tikv", annotatedTiKVs)
			for _, pod := range pods {
				if n := agents(pod); n != 1 {
					t.Errorf("the new pod %s has %d agents, want 1", pod.Name, n)
				}
				if _, ok := evicted.Load(pod.Name); !ok {
					t.Errorf("the operator did not note on pod %s that it evicts leaders", pod.Name)
				}
			}
			// The last pod is the first to be restarted.
			if first := pods[len(pods)-1]; first.Annotations["tidb.pingcap.com/tikv-evict-leader-end-at"] == "" {
				t.Errorf("the operator did not note on pod %s that it went on to the next", first.Name)
			}
			return ctx
		}).Feature())
}

// watchEvictions notes the names of the pods whose leaders TiDB Operator evicts,
// until the test ends: the old pods take the operator's own notes with them.
func (w *world) watchEvictions(ctx context.Context, t *testing.T) *sync.Map {
	t.Helper()
	var evicted sync.Map
	watch := w.Watch(&corev1.PodList{}).WithUpdateFunc(func(o any) {
		if pod, ok := o.(*corev1.Pod); ok && pod.Annotations["evictLeaderBeginTime"] != "" {
			evicted.Store(pod.Name, true)
		}
	})
	if err := watch.Start(ctx); err != nil {
		t.Fatalf("watch pods: %v", err)
	}
	t.Cleanup(watch.Stop)
	return &evicted
}

// restart asks for a rolling restart of one component of a cluster, or of all
// for "", and returns its pods, as many as want, when the restart has ended.
func (w *world) restart(ctx context.Context, t *testing.T, cluster, component string, want int) []corev1.Pod {
	t.Helper()
	now := time.Now().Format(time.RFC3339Nano)
	annotations := fmt.Sprintf(`"annotations":{%q:%q}`, restartedAt, now)
	if component != "" {
		annotations = fmt.Sprintf(`%q:{%s}`, component, annotations)
	} else { // a component's own annotation would win
		annotations += fmt.Sprintf(`,"tikv":{"annotations":{%q:null}}`, restartedAt)
	}
	w.patchCluster(ctx, t, cluster, `{"spec":{%s}}`, annotations)
	start := time.Now()
	var pods []corev1.Pod
	err := w.poll(ctx, func(ctx context.Context) error {
		pods = w.pods(ctx, t, cluster, component)
		fresh := func(pod corev1.Pod) bool { return podReady(pod) && pod.Annotations[restartedAt] == now }
		if i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return !fresh(p) }); i >= 0 || len(pods) != want {
			return fmt.Errorf("%d pods of %s %s, want %d, all new and ready", len(pods), cluster, component, want)
		}
		var tc pingcapv1alpha1.TidbCluster
		if err := w.Get(ctx, cluster, w.namespace, &tc); err != nil {
			return err
		}
		phases := []pingcapv1alpha1.MemberPhase{tc.Status.PD.Phase, tc.Status.TiKV.Phase, tc.Status.TiDB.Phase}
		if !isReady(&tc) || slices.ContainsFunc(phases, func(p pingcapv1alpha1.MemberPhase) bool { return p != pingcapv1alpha1.NormalPhase }) {
			return fmt.Errorf("TidbCluster %s is in phases %v, conditions %+v", cluster, phases, tc.Status.Conditions)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, w.describe(ctx))
	}
	t.Logf("restarted %s %s in %s", cluster, component, time.Since(start).Round(time.Second))
	return pods
}

// pods lists the pods of a cluster's component, or of all for "", by name.
func (w *world) pods(ctx context.Context, t *testing.T, cluster, component string) []corev1.Pod {
	t.Helper()
	selector := fmt.Sprintf("app.kubernetes.io/instance=%s,!app", cluster)
	if component != "" {
		selector += ",app.kubernetes.io/component=" + component
	}
	var pods corev1.PodList
	if err := w.List(ctx, &pods, resources.WithLabelSelector(selector)); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return pods.Items
}

// patchCluster merges what it formats into a TidbCluster, and returns what that
// makes of it.
func (w *world) patchCluster(ctx context.Context, t *testing.T, cluster, format string, args ...any) *pingcapv1alpha1.TidbCluster {
	t.Helper()
	tc := &pingcapv1alpha1.TidbCluster{ObjectMeta: metav1.ObjectMeta{Name: cluster, Namespace: w.namespace}}
	if err := w.Patch(ctx, tc, k8s.Patch{PatchType: types.MergePatchType, Data: fmt.Appendf(nil, format, args...)}); err != nil {
		t.Fatalf("patch TidbCluster %s: %v", cluster, err)
	}
	return tc
}
