//go:build e2e

package cluster

import (
	"context"
	"errors"
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
				t.Logf("measure in TidbCluster %s: %v", neighbour, err)
			} else {
				samples++
			}
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
	faults, _ := w.kubectl(ctx, "", "get", "networkfaults,networktopologies", "-o", "yaml")
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
	w.applyKind(ctx, t, "NetworkFault", cluster, name, spec)
}

func (w *world) applyKind(ctx context.Context, t *testing.T, kind, cluster, name, spec string) {
	t.Helper()
	w.applyYAML(ctx, t, fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: %s}\nspec: {cluster: %s, %s}\n", v1alpha1.GroupVersion(), kind, name, cluster, spec))
}

func (w *world) applyYAML(ctx context.Context, t *testing.T, yaml string) {
	t.Helper()
	if out, err := w.kubectl(ctx, yaml, "apply", "-f", "-"); err != nil {
		t.Fatalf("apply %s: %v\n%s", yaml, err, out)
	}
}

// patch merges JSON into a NetworkFault.
func (w *world) patch(ctx context.Context, t *testing.T, name, patch string) {
	t.Helper()
	w.merge(ctx, t, &v1alpha1.NetworkFault{ObjectMeta: w.named(name)}, patch)
}

// merge merges JSON into an object.
func (w *world) merge(ctx context.Context, t *testing.T, o object, patch string) {
	t.Helper()
	if err := w.Patch(ctx, o, k8s.Patch{PatchType: types.MergePatchType, Data: []byte(patch)}); err != nil {
		t.Fatalf("patch %T %s with %s: %v", o, o.GetName(), patch, err)
	}
}

// remove deletes a NetworkFault.
func (w *world) remove(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	w.removeObject(ctx, t, &v1alpha1.NetworkFault{ObjectMeta: w.named(name)})
}

func (w *world) removeObject(ctx context.Context, t *testing.T, o object) {
	t.Helper()
	if err := w.Delete(ctx, o); err != nil {
		t.Fatalf("delete %T %s: %v", o, o.GetName(), err)
	}
}

// named is what is known of an object of the world's namespace before it is read.
func (w *world) named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: w.namespace}
}

// removeAll deletes the NetworkFaults and NetworkTopologies of a TidbCluster.
func (w *world) removeAll(ctx context.Context, t *testing.T, cluster string) {
	t.Helper()
	var faults v1alpha1.NetworkFaultList
	var topologies v1alpha1.NetworkTopologyList
	if err := errors.Join(w.List(ctx, &faults), w.List(ctx, &topologies)); err != nil {
		t.Errorf("list what TidbCluster %s has: %v", cluster, err)
	}
	var all []object
	for _, f := range faults.Items {
		if f.Spec.Cluster == cluster {
			all = append(all, &f)
		}
	}
	for _, nt := range topologies.Items {
		if nt.Spec.Cluster == cluster {
			all = append(all, &nt)
		}
	}
	for _, o := range all {
		if err := w.Delete(ctx, o); err != nil {
			t.Errorf("delete %T %s: %v", o, o.GetName(), err)
		}
	}
}

// wantPhase waits until the status of a NetworkFault is about the spec as it is, with a phase
// and a reason, and returns it.
func (w *world) wantPhase(ctx context.Context, t *testing.T, name string, phase v1alpha1.Phase, reason string) v1alpha1.NetworkFaultStatus {
	t.Helper()
	var f v1alpha1.NetworkFault
	w.wantLife(ctx, t, name, &f, &f.Status.Life, phase, reason)
	return f.Status
}

// wantLife reads an object, whose status has the life, until that is about the spec as it is
// and has a phase and a reason.
func (w *world) wantLife(ctx context.Context, t *testing.T, name string, o object, life *v1alpha1.Life, phase v1alpha1.Phase, reason string) {
	t.Helper()
	for start := time.Now(); ; {
		err := w.Get(ctx, name, w.namespace, o)
		if err == nil && life.ObservedGeneration == o.GetGeneration() && life.Phase == phase && life.Reason == reason {
			return
		}
		if time.Since(start) > settles {
			t.Fatalf("%T %s: want %s %s: %v, status %+v", o, name, phase, reason, err, *life)
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
