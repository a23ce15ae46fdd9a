//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/e2e-framework/klient/k8s"
	"sigs.k8s.io/e2e-framework/klient/k8s/resources"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
)

func TestRecreatedPod(t *testing.T) {
	theClaims.sideBySide(t, needs(theInjector), changes(annotated))
	testEnv.Test(t, features.New("a deleted pod").
		Assess("comes back with one agent and without its fault", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			for _, component := range []string{"tikv", "discovery"} {
				old := theWorld.pod(ctx, t, annotated, component)
				theWorld.setLatency(ctx, t, old, "50ms")
				pod := theWorld.recreate(ctx, t, annotated, component)[0]
				if n := agents(pod); n != 1 {
					t.Fatalf("the new pod %s has %d agents, want 1", pod.Name, n)
				}
				theWorld.wantLeast(ctx, t, pinger, pod.Status.PodIP, 0)
				theWorld.setLatency(ctx, t, pod, "20ms")
				theWorld.wantLeast(ctx, t, pinger, pod.Status.PodIP, 20*time.Millisecond)
				theWorld.clearLatency(ctx, t, pod)
			}
			return ctx
		}).Feature())
}

// The injector must never be what keeps a database from starting.
func TestInjectorAway(t *testing.T) {
	theClaims.sideBySide(t, changes(theInjector), changes(annotated))
	testEnv.Test(t, features.New("without an injector").
		Assess("both replicas deleted: the pod starts", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			theWorld.waitForInjector(ctx, t, 2)
			for _, replica := range theWorld.replicas(ctx, t) {
				if err := theWorld.Delete(ctx, &replica, resources.WithGracePeriod(0)); err != nil {
					t.Fatal(err)
				}
			}
			// Whether the new replicas are up in time is a race; that the pod
			// starts is not.
			pod := theWorld.recreate(ctx, t, annotated, "tikv")[0]
			t.Logf("the new pod has %d agents", agents(pod))
			theWorld.waitForInjector(ctx, t, 2)
			return ctx
		}).
		Assess("none at all: the pod starts untouched", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			theWorld.scaleInjector(ctx, t, 0)
			defer theWorld.scaleInjector(ctx, t, 2)
			if pod := theWorld.recreate(ctx, t, annotated, "tikv")[0]; agents(pod) != 0 {
				t.Errorf("pod %s has %d agents without an injector", pod.Name, agents(pod))
			}
			return ctx
		}).
		Assess("back again: the next pod is injected", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			if pod := theWorld.recreate(ctx, t, annotated, "tikv")[0]; agents(pod) != 1 {
				t.Errorf("pod %s has %d agents, want 1", pod.Name, agents(pod))
			}
			return ctx
		}).Feature())
}

// recreate deletes the pod of each of a cluster's components, all at once, and returns
// those that their controllers make instead.
func (w *world) recreate(ctx context.Context, t *testing.T, cluster string, components ...string) []corev1.Pod {
	t.Helper()
	var pods []corev1.Pod
	for _, component := range components {
		pods = append(pods, w.pod(ctx, t, cluster, component))
	}
	for _, pod := range pods {
		if err := w.Delete(ctx, &pod); err != nil {
			t.Fatal(err)
		}
	}
	for i, component := range components {
		pods[i] = w.newPod(ctx, t, cluster, component, string(pods[i].UID))
	}
	return pods
}

func (w *world) scaleInjector(ctx context.Context, t *testing.T, replicas int32) {
	t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: injectorName, Namespace: tidelayNamespace}}
	patch := k8s.Patch{PatchType: types.MergePatchType, Data: fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)}
	if err := w.Patch(ctx, d, patch); err != nil {
		t.Fatal(err)
	}
	w.waitForInjector(ctx, t, replicas)
}

// waitForInjector waits until so many replicas are available, and no other is
// left.
func (w *world) waitForInjector(ctx context.Context, t *testing.T, want int32) {
	t.Helper()
	err := w.poll(ctx, func(ctx context.Context) error {
		replicas := w.replicas(ctx, t)
		var d appsv1.Deployment
		if err := w.injector.Get(ctx, injectorName, tidelayNamespace, &d); err != nil {
			return err
		}
		if d.Status.AvailableReplicas != want || len(replicas) != int(want) {
			return fmt.Errorf("%d of %d replicas of the injector are available, want %d", d.Status.AvailableReplicas, len(replicas), want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
