//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/e2e-framework/klient/k8s"
	"sigs.k8s.io/e2e-framework/klient/k8s/resources"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// The controller's faults last so long at an agent without it: lease, or where the TidbCluster
// abandoned is annotated so, a time that a test can wait for.
const (
	lease          = 5 * time.Minute
	abandonedLease = 80 * time.Second
)

// Without a controller every fault ends by itself, also one that lasts until it is deleted.
// The test waits for that most of its time, with a TidbCluster of its own: tests that need
// no controller have the others meanwhile.
func TestNetworkFaultControllerGone(t *testing.T) {
	theClaims.first(t, changes(theController), changes(abandoned))
	ctx := t.Context()
	t.Cleanup(func() { theFaulted.removeAll(context.Background(), t, abandoned) })
	theFaulted.runOn(ctx, t, abandoned, "left-behind", `from: [tikv], rtt: 50ms, untilDeleted: true`)
	slow := between([]string{"tikv-0"}, []string{"pd-0", "tidb-0"}, added)
	theFaulted.wantMatrixOf(ctx, t, abandoned, settles, "before", slow)
	replicas := theFaulted.scaleController(ctx, t, 0)
	gone := time.Now()
	t.Cleanup(func() { theFaulted.scaleController(context.Background(), t, replicas) })
	theFaulted.wantMatrixOf(ctx, t, abandoned, settles, "right after the controller has gone", slow)

	const measuring = 10 * time.Second
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		found, err := theFaulted.matrix(ctx, abandoned, matrixPings)
		problem := found.unlike(flat)
		if err == nil && problem == "" {
			break
		}
		if time.Since(gone) > abandonedLease+measuring {
			t.Fatalf("%s after the controller has gone: %v%s", time.Since(gone).Round(time.Second), err, problem)
		}
		<-tick.C
	}
	t.Logf("flat %s after the controller has gone", time.Since(gone).Round(time.Second))
	theFaulted.wantNoFaults(ctx, t, abandoned)
}

// A fault that is deleted while there is no controller ends when there is one again.
func TestNetworkFaultControllerKilled(t *testing.T) {
	ctx := onFaulted(t, changes(theController))
	theFaulted.runSlow(ctx, t, "deleted-meanwhile")
	theFaulted.run(ctx, t, "kept", `from: ["tidb(0)"], to: ["pd"], rtt: 50ms, duration: 30m`)
	kept := between([]string{"tidb-0"}, []string{"pd-0", "pd-1", "pd-2"}, added)
	theFaulted.wantMatrix(ctx, t, "before", sum(slowTiKV(added), kept))
	for _, pod := range theFaulted.controllers(ctx, t) {
		if err := theFaulted.injector.Delete(ctx, &pod, resources.WithGracePeriod(0)); err != nil {
			t.Fatal(err)
		}
	}
	theFaulted.remove(ctx, t, "deleted-meanwhile")
	killed := time.Now()
	const leaderAgain = 2 * time.Minute // kubelet starts it, and the old leader's lease of the API runs out
	theFaulted.wantMatrixWithin(ctx, t, leaderAgain, "a new controller leads", kept)
	t.Logf("as it should be %s after the controller was killed", time.Since(killed).Round(time.Second))
	theFaulted.wantPhase(ctx, t, "kept", v1alpha1.Running, "Applied")
}

// controllers lists the controller's pods.
func (w *world) controllers(ctx context.Context, t *testing.T) []corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	if err := w.injector.List(ctx, &pods, resources.WithLabelSelector("app.kubernetes.io/component=controller")); err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) == 0 {
		t.Fatal("there is no controller")
	}
	return pods.Items
}

// scaleController gives the controller so many replicas, waits until as many are available
// and no other is left, and returns how many there were.
func (w *world) scaleController(ctx context.Context, t *testing.T, replicas int32) (before int32) {
	t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: controllerName, Namespace: tidelayNamespace}}
	if err := w.injector.Get(ctx, controllerName, tidelayNamespace, d); err != nil {
		t.Fatal(err)
	}
	before = *d.Spec.Replicas
	patch := k8s.Patch{PatchType: types.MergePatchType, Data: fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)}
	if err := w.injector.Patch(ctx, d, patch); err != nil {
		t.Fatal(err)
	}
	err := w.poll(ctx, func(ctx context.Context) error {
		var pods corev1.PodList
		if err := w.injector.List(ctx, &pods, resources.WithLabelSelector("app.kubernetes.io/component=controller")); err != nil {
			return err
		}
		ready := 0
		for _, pod := range pods.Items {
			if podReady(pod) {
				ready++
			}
		}
		if ready != int(replicas) || len(pods.Items) != int(replicas) {
			return fmt.Errorf("%d pods of the controller, %d of them ready, want %d", len(pods.Items), ready, replicas)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return before
}

// How long it takes from kubectl apply until the status says that all pods have the fault,
// which are eight. The number to look at is in the log; the limit only finds what is broken.
func TestNetworkFaultTimeToApplied(t *testing.T) {
	ctx := onFaulted(t)
	const pods, runs, limit = 8, 20, 10 * time.Second
	var total, kubectls []time.Duration
	for i := range runs {
		name := fmt.Sprintf("timed-%d", i)
		start := time.Now()
		theFaulted.apply(ctx, t, name, `from: [pd, tikv, tidb], to: [pd, tikv, tidb], rtt: 50ms, duration: 10m`)
		kubectls = append(kubectls, time.Since(start))
		status := theFaulted.wantPhase(ctx, t, name, v1alpha1.Running, "Applied")
		total = append(total, time.Since(start))
		if want := fmt.Sprintf("%d/%[1]d", pods); status.Applied != want {
			t.Fatalf("applied %s, want %s", status.Applied, want)
		}
		theFaulted.remove(ctx, t, name)
	}
	slices.Sort(total)
	slices.Sort(kubectls)
	median := total[runs/2]
	t.Logf("kubectl apply to applied at %d pods, %d runs: median %s (least %s, most %s); kubectl itself took %s",
		pods, runs, median.Round(time.Millisecond), total[0].Round(time.Millisecond), total[runs-1].Round(time.Millisecond),
		kubectls[runs/2].Round(time.Millisecond))
	if median > limit {
		t.Errorf("median %s, want %s at most", median, limit)
	}
}
