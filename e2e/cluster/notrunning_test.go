//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/e2e-framework/klient/k8s"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
)

// An agent whose image can't be pulled is told within a minute, by kubelet's reason, and
// told no more when it runs again.
func TestAgentNotRunning(t *testing.T) {
	theClaims.sideBySide(t, needs(theInjector), needs(theController), changes(annotated))
	testEnv.Test(t, features.New("an agent that can't run").
		Assess("is told within a minute", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			theWorld.wantCondition(ctx, t, annotated, corev1.ConditionTrue, "injected")
			pod := theWorld.pod(ctx, t, annotated, "discovery")
			image := ""
			for _, c := range pod.Spec.Containers {
				if c.Name == agentName {
					image = c.Image
				}
			}
			run := func(image string) {
				t.Helper()
				patch := fmt.Sprintf(`{"spec":{"containers":[{"name":%q,"image":%q}]}}`, agentName, image)
				if err := theWorld.Patch(ctx, &pod, k8s.Patch{PatchType: types.StrategicMergePatchType, Data: []byte(patch)}); err != nil {
					t.Fatal(err)
				}
			}
			run("registry.invalid/no/such:image")
			broken := time.Now()
			message := theWorld.wantCondition(ctx, t, annotated, corev1.ConditionFalse, "agent_not_running")
			t.Logf("told after %s: %s", time.Since(broken).Round(time.Second), message)
			// Between two pulls kubelet says CrashLoopBackOff: the container ran before.
			inItsWords := strings.Contains(message, "ImagePullBackOff of registry.invalid/no/such:image") || strings.Contains(message, "CrashLoopBackOff")
			if !strings.Contains(message, pod.Name) || !inItsWords {
				t.Errorf("message %q, want the pod %s and kubelet's reason", message, pod.Name)
			}
			run(image)
			theWorld.wantCondition(ctx, t, annotated, corev1.ConditionTrue, "injected")
			return ctx
		}).Feature())
}
