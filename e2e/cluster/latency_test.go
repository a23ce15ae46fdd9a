//go:build e2e

package cluster

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
)

// Before, during and after, from the node and from another pod, with a
// bystander beside it all the time.
func TestLatency(t *testing.T) {
	theClaims.sideBySide(t, changes(annotated), needs(plain), changes(theMachine))
	all := make([]features.Feature, 0, len(components()))
	for _, component := range components() {
		all = append(all, features.New(component).
			Assess("ping shows what curl asks for", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
				pod, other := theWorld.pod(ctx, t, annotated, component), theWorld.pod(ctx, t, plain, component)
				both := func(what string, want time.Duration) {
					t.Helper()
					for _, from := range []string{pinger, nodePinger} {
						theWorld.wantRTT(ctx, t, what, from, pod, want)
						theWorld.wantRTT(ctx, t, what+", bystander", from, other, 0)
					}
				}
				both("before", 0)
				for _, delay := range []string{"20ms", "50ms"} {
					answer := theWorld.setLatency(ctx, t, pod, delay)
					t.Logf("set %s: engine %s: %s", delay, answer.Engine, answer.Meaning)
					d, err := time.ParseDuration(delay)
					if err != nil || answer.Fault == nil || answer.Fault.Delay != delay {
						t.Fatalf("set %s: %v, answer %+v", delay, err, answer)
					}
					both("with "+delay, d)
				}
				theWorld.clearLatency(ctx, t, pod)
				both("cleared", 0)
				return ctx
			}).Feature())
	}
	testEnv.TestInParallel(t, all...)
}

// kubelet gives TiDB's readiness probe one second. Under two seconds of delay
// it must go on answering, or the fault would take the pod out of its Service.
func TestProbesPassUnderDelay(t *testing.T) {
	theClaims.sideBySide(t, changes(annotated), changes(theMachine))
	testEnv.Test(t, features.New("tidb under 2s of delay").
		Assess("stays ready", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			pod := theWorld.pod(ctx, t, annotated, "tidb")
			probe := readinessProbe(t, pod)
			theWorld.setLatency(ctx, t, pod, "2s")
			defer theWorld.clearLatency(ctx, t, pod)

			// As long as kubelet needs to notice, and one period more.
			until := time.Now().Add(time.Duration(probe.PeriodSeconds*(probe.FailureThreshold+1)) * time.Second)
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for time.Now().Before(until) {
				var now corev1.Pod
				if err := theWorld.Get(ctx, pod.Name, namespace, &now); err != nil {
					t.Fatal(err)
				}
				if !podReady(now) || now.Status.ContainerStatuses[0].RestartCount != pod.Status.ContainerStatuses[0].RestartCount {
					t.Fatalf("pod %s is not ready any more or restarted: %+v", pod.Name, now.Status.Conditions)
				}
				<-tick.C
			}
			theWorld.wantRTT(ctx, t, "the node's ping meanwhile", nodePinger, pod, 2*time.Second)
			return ctx
		}).Feature())
}

func readinessProbe(t *testing.T, pod corev1.Pod) *corev1.Probe {
	t.Helper()
	for _, c := range pod.Spec.Containers {
		if c.ReadinessProbe != nil {
			return c.ReadinessProbe
		}
	}
	t.Fatalf("pod %s has no readiness probe", pod.Name)
	return nil
}
