//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"

	pingcapv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
)

func TestInjection(t *testing.T) {
	injected := features.New("annotated cluster")
	for _, component := range components() {
		injected.Assess(component+" carries one agent", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			pod := theWorld.pod(ctx, t, annotated, component)
			if n := agents(pod); n != 1 {
				t.Fatalf("pod %s has %d agents, want 1", pod.Name, n)
			}
			last := pod.Spec.Containers[len(pod.Spec.Containers)-1]
			if last.Name != agentName || last.Image != agentImage {
				t.Errorf("the last container is %s of image %s", last.Name, last.Image)
			}
			return ctx
		})
	}
	injected.Assess("is Ready", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
		var tc pingcapv1alpha1.TidbCluster
		if err := theWorld.Get(ctx, annotated, namespace, &tc); err != nil || !isReady(&tc) {
			t.Errorf("TidbCluster %s: %v, conditions %+v", annotated, err, tc.Status.Conditions)
		}
		return ctx
	})
	// TiDB Operator writes pods back whole: the API server would reject them if
	// the operator lost a field of the agent's.
	injected.Assess("is still labelled by the operator", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
		theWorld.wantOperatorsLabels(ctx, t, annotated)
		return ctx
	})
	injected.Assess("has an Event that says so", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
		err := theWorld.poll(ctx, func(ctx context.Context) error {
			var events corev1.EventList
			if err := theWorld.List(ctx, &events); err != nil {
				return err
			}
			for _, e := range events.Items {
				if e.InvolvedObject.Kind == "TidbCluster" && e.InvolvedObject.Name == annotated && e.Reason == "injected" {
					return nil
				}
			}
			return fmt.Errorf("no Event on TidbCluster %s", annotated)
		})
		if err != nil {
			t.Error(err)
		}
		return ctx
	})

	others := features.New("everybody else").
		Assess("has no agent", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			var pods corev1.PodList
			if err := theWorld.List(ctx, &pods); err != nil {
				t.Fatal(err)
			}
			seen := map[string]int{}
			for _, pod := range pods.Items {
				mine := strings.HasPrefix(pod.Name, annotated+"-")
				seen[fmt.Sprintf("mine=%t", mine)]++
				if want := map[bool]int{true: 1}[mine]; agents(pod) != want {
					t.Errorf("pod %s has %d agents, want %d", pod.Name, agents(pod), want)
				}
			}
			if seen["mine=true"] != podsOf(annotated) || seen["mine=false"] != podsOf(plain)+4 {
				t.Errorf("looked at %v pods", seen)
			}
			return ctx
		})
	testEnv.Test(t, injected.Feature(), others.Feature())
}
