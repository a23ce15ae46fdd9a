//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	pingcapv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
)

// A pod is injected when it is made and at no other time. Until then the
// TidbCluster says which pods were missed.
func TestAnnotatedLater(t *testing.T) {
	theClaims.sideBySide(t, needs(theInjector), needs(theController), changes(plain))
	var before []corev1.Pod
	testEnv.Test(t, features.New("a running cluster").
		Assess("annotated: its pods stay as they are, and are found", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			before = theWorld.pods(ctx, t, plain, "")
			theWorld.patchCluster(ctx, t, plain, `{"metadata":{"annotations":{%q:"true","tidelay.io/sidecar":"native"}}}`, optIn)
			theWorld.syncOperator(ctx, t, plain)
			message := theWorld.wantCondition(ctx, t, plain, corev1.ConditionFalse, "missed")
			for i, pod := range theWorld.pods(ctx, t, plain, "") {
				if pod.UID != before[i].UID || agents(pod) != 0 {
					t.Errorf("pod %s has %d agents (UID %s, before %s)", pod.Name, agents(pod), pod.UID, before[i].UID)
				}
				if !strings.Contains(message, pod.Name+" (missed)") {
					t.Errorf("the condition does not name %s: %s", pod.Name, message)
				}
			}
			return ctx
		}).
		Assess("restarted: its pods have a native sidecar each", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			for _, pod := range theWorld.restart(ctx, t, plain, "", podsOf(plain)) {
				inits := pod.Spec.InitContainers
				if agents(pod) != 1 || len(inits) == 0 || inits[len(inits)-1].Name != agentName {
					t.Errorf("the new pod %s has %d agents and the init containers %v, want one that is the last of these", pod.Name, agents(pod), inits)
				}
			}
			pod := theWorld.pod(ctx, t, plain, "tikv")
			theWorld.setLatency(ctx, t, pod, "20ms")
			theWorld.wantLeast(ctx, t, pinger, pod.Status.PodIP, 20*time.Millisecond)
			theWorld.wantOperatorsLabels(ctx, t, plain)
			theWorld.wantCondition(ctx, t, plain, corev1.ConditionTrue, "injected")
			return ctx
		}).
		Assess("un-annotated: new pods have none", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			theWorld.unannotate(ctx, t, plain)
			for _, pod := range theWorld.recreate(ctx, t, plain, components()...) {
				if n := agents(pod); n != 0 {
					t.Errorf("the new pod %s has %d agents, want none", pod.Name, n)
				}
			}
			theWorld.wantCondition(ctx, t, plain, "", "")
			return ctx
		}).Feature())
}

// unannotate takes the annotations off a cluster, and waits until both replicas of the injector
// have seen that, as far as pods tell that are admitted on a dry run.
func (w *world) unannotate(ctx context.Context, t *testing.T, cluster string) {
	t.Helper()
	w.patchCluster(ctx, t, cluster, `{"metadata":{"annotations":{%q:null,"tidelay.io/sidecar":null}}}`, optIn)
	pod, without := w.podToRemake(ctx, t, cluster), 0
	err := w.poll(ctx, func(ctx context.Context) error {
		made := pod.DeepCopy()
		if err := w.dryRun(ctx, made); err != nil {
			return err
		}
		if without++; agents(*made) > 0 {
			without = 0
		}
		if without < 5 {
			return fmt.Errorf("of the last pods %d had no agent, want 5", without)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wantCondition waits until the condition TidelayInjected of a cluster says
// this, "" for that there is none, and returns its message.
func (w *world) wantCondition(ctx context.Context, t *testing.T, cluster string, status corev1.ConditionStatus, reason string) string {
	t.Helper()
	var got pingcapv1alpha1.TidbClusterCondition
	err := w.poll(ctx, func(ctx context.Context) error {
		var tc pingcapv1alpha1.TidbCluster
		if err := w.Get(ctx, cluster, w.namespace, &tc); err != nil {
			return err
		}
		got = pingcapv1alpha1.TidbClusterCondition{}
		for _, c := range tc.Status.Conditions {
			if c.Type == "TidelayInjected" {
				got = c
			}
		}
		if got.Status != status || got.Reason != reason {
			return fmt.Errorf("condition %+v, want %q %q", got, status, reason)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return got.Message
}

// wantOperatorsLabels waits until TiDB Operator has written its labels onto the
// pods of a cluster.
func (w *world) wantOperatorsLabels(ctx context.Context, t *testing.T, cluster string) {
	t.Helper()
	for component, labels := range map[string][]string{"pd": {"cluster-id", "member-id"}, "tikv": {"cluster-id", "store-id"}, "tidb": {"cluster-id"}} {
		err := w.poll(ctx, func(ctx context.Context) error {
			for _, pod := range w.pods(ctx, t, cluster, component) {
				for _, label := range labels {
					if pod.Labels["tidb.pingcap.com/"+label] == "" {
						return fmt.Errorf("pod %s has no label tidb.pingcap.com/%s", pod.Name, label)
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
