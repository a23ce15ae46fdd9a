//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/e2e-framework/klient/k8s"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// onFaulted claims the TidbCluster faulted for a test, and the controller as it is unless
// the test has other claims. The cluster has no fault before, and none is left behind. All
// the while its neighbour must notice nothing.
func onFaulted(t *testing.T, claims ...claim) context.Context {
	t.Helper()
	if len(claims) == 0 {
		claims = []claim{needs(theController)}
	}
	theClaims.sideBySide(t, append(claims, changes(faulted))...)
	w := theFaulted
	w.wantFlat(t.Context(), t, "before")
	stop := w.watchNeighbour(t)
	t.Cleanup(func() {
		ctx := context.Background()
		if t.Failed() {
			t.Log(w.describeFaults(ctx))
		}
		w.removeAll(ctx, t, faulted)
		w.wantFlat(ctx, t, "after all faults were deleted")
		stop()
	})
	return t.Context()
}

// watchNeighbour measures in the TidbCluster neighbour until stop is called: no pair of it
// may ever have a fault.
func (w *world) watchNeighbour(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	samples, worst := 0, time.Duration(0)
	watch.Go(func() {
		tick := time.NewTicker(2 * time.Second)
		defer tick.Stop()
		for {
			found, err := w.matrix(ctx, neighbour, matrixPings)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				t.Errorf("measure in TidbCluster %s: %v", neighbour, err)
			}
			samples++
			for p, rtt := range found {
				worst = max(worst, rtt)
				const smallest = 20 * time.Millisecond // of the faults in these tests, less than half
				if rtt == cut || rtt > smallest {
					t.Errorf("TidbCluster %s has a fault: %s - %s: %s", neighbour, p.a, p.b, inWords(rtt))
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		watch.Wait()
		t.Logf("TidbCluster %s: measured %d times, at most %s", neighbour, samples, inWords(worst))
		if samples == 0 {
			t.Errorf("TidbCluster %s was never measured", neighbour)
		}
	}
}

// kubectl runs kubectl in the world's namespace.
func (w *world) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, kubectl, append([]string{"-n", w.namespace}, args...)...)
	command.Stdin = strings.NewReader(stdin)
	out, err := command.CombinedOutput()
	return string(out), err
}

func (w *world) describeFaults(ctx context.Context) string {
	faults, _ := w.kubectl(ctx, "", "get", "networkfaults", "-o", "yaml")
	log, _ := exec.CommandContext(ctx, kubectl, "-n", tidelayNamespace, "logs", "-l", "app.kubernetes.io/component=controller", "--tail=40").CombinedOutput()
	return fmt.Sprintf("%s\n%s\nlog of the controller:\n%s", w.describe(ctx), faults, log)
}

// apply applies a NetworkFault of the TidbCluster faulted. The spec is YAML on one line,
// without the cluster: `from: [tikv], rtt: 50ms, duration: 10m`.
func (w *world) apply(ctx context.Context, t *testing.T, name, spec string) {
	t.Helper()
	w.applyTo(ctx, t, faulted, name, spec)
}

func (w *world) applyTo(ctx context.Context, t *testing.T, cluster, name, spec string) {
	t.Helper()
	yaml := fmt.Sprintf("apiVersion: %s\nkind: NetworkFault\nmetadata: {name: %s}\nspec: {cluster: %s, %s}\n", v1alpha1.GroupVersion(), name, cluster, spec)
	if out, err := w.kubectl(ctx, yaml, "apply", "-f", "-"); err != nil {
		t.Fatalf("apply %s: %v\n%s", yaml, err, out)
	}
}

// patch merges JSON into a NetworkFault.
func (w *world) patch(ctx context.Context, t *testing.T, name, patch string) {
	t.Helper()
	fault := &v1alpha1.NetworkFault{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace}}
	if err := w.Patch(ctx, fault, k8s.Patch{PatchType: types.MergePatchType, Data: []byte(patch)}); err != nil {
		t.Fatalf("patch NetworkFault %s with %s: %v", name, patch, err)
	}
}

// remove deletes a NetworkFault.
func (w *world) remove(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	fault := &v1alpha1.NetworkFault{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace}}
	if err := w.Delete(ctx, fault); err != nil {
		t.Fatalf("delete NetworkFault %s: %v", name, err)
	}
}

// removeAll deletes the NetworkFaults of a TidbCluster.
func (w *world) removeAll(ctx context.Context, t *testing.T, cluster string) {
	t.Helper()
	var all v1alpha1.NetworkFaultList
	if err := w.List(ctx, &all); err != nil {
		t.Errorf("list NetworkFaults: %v", err)
	}
	for _, f := range all.Items {
		if f.Spec.Cluster != cluster {
			continue
		}
		if err := w.Delete(ctx, &f); err != nil {
			t.Errorf("delete NetworkFault %s: %v", f.Name, err)
		}
	}
}

// wantPhase waits until the status is about the spec as it is, with a phase and a reason,
// and returns it.
func (w *world) wantPhase(ctx context.Context, t *testing.T, name string, phase v1alpha1.Phase, reason string) v1alpha1.NetworkFaultStatus {
	t.Helper()
	var f v1alpha1.NetworkFault
	start := time.Now()
	for {
		err := w.Get(ctx, name, w.namespace, &f)
		if err == nil && f.Status.ObservedGeneration == f.Generation && f.Status.Phase == phase && f.Status.Reason == reason {
			return f.Status
		}
		if time.Since(start) > settles {
			t.Fatalf("NetworkFault %s: want %s %s: %v, status %+v", name, phase, reason, err, f.Status)
		}
		time.Sleep(50 * time.Millisecond) // until the next look
	}
}

// run applies a NetworkFault of the TidbCluster faulted and waits until every agent has it.
func (w *world) run(ctx context.Context, t *testing.T, name, spec string) v1alpha1.NetworkFaultStatus {
	t.Helper()
	return w.runOn(ctx, t, faulted, name, spec)
}

func (w *world) runOn(ctx context.Context, t *testing.T, cluster, name, spec string) v1alpha1.NetworkFaultStatus {
	t.Helper()
	w.applyTo(ctx, t, cluster, name, spec)
	status := w.wantPhase(ctx, t, name, v1alpha1.Running, "Applied")
	t.Logf("NetworkFault %s of %s {%s}: applied at %s", name, cluster, spec, status.Applied)
	return status
}

// runSlow runs the fault that most tests begin with: all that goes between tikv-0 and the
// others takes 50 ms more, for half an hour.
func (w *world) runSlow(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	w.run(ctx, t, name, `from: ["tikv(0)"], rtt: 50ms, duration: 30m`)
	w.wantMatrix(ctx, t, "fault "+name, slowTiKV(added))
}

// added is the RTT of most faults.
const added = 50 * time.Millisecond

// slowTiKV wishes an RTT between tikv-0 and the others.
func slowTiKV(rtt time.Duration) wish { return between([]string{"tikv-0"}, nil, rtt) }
