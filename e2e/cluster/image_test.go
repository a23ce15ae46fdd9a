//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/e2e-framework/klient/k8s"
	"sigs.k8s.io/e2e-framework/klient/k8s/resources"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
)

// noImage is an image that nobody can pull: no registry is called .invalid (RFC 6761).
const noImage = "registry.invalid/tidelay/agent:none"

// guard is the init container of the injector that runs the agent's image.
const guard = "agent-image"

// An image that nobody can pull ends the injector's rollout before any pod is made
// with it.
func TestRolloutOfABadImage(t *testing.T) {
	theClaims.sideBySide(t, changes(theInjector))
	testEnv.Test(t, features.New("a rollout with an agent's image that can't be pulled").
		Assess("stops, and pods go on getting the image that works", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			theWorld.setAgentImage(ctx, t, noImage, noImage)
			err := theWorld.poll(ctx, func(ctx context.Context) error {
				for _, pod := range theWorld.replicas(ctx, t) {
					if i := slices.IndexFunc(pod.Status.InitContainerStatuses, waitsForImage); i >= 0 && pod.Status.InitContainerStatuses[i].Name == guard {
						return nil
					}
				}
				return fmt.Errorf("no replica waits for the image of %s", guard)
			})
			if err != nil {
				t.Fatal(err)
			}
			ready := 0
			for _, pod := range theWorld.replicas(ctx, t) {
				if podReady(pod) {
					ready++
				}
			}
			if ready != 2 {
				t.Errorf("%d replicas of the injector are ready, want the 2 from before", ready)
			}
			for range 20 {
				if image := imageOfAgent(theWorld.remade(ctx, t)); image != agentImage {
					t.Fatalf("a pod's agent is of the image %q, want %s", image, agentImage)
				}
			}
			theWorld.setAgentImage(ctx, t, agentImage, agentImage)
			rolloutStatus(ctx, t)
			return ctx
		}).Feature())
}

// An image that the injector's node has and a database's can't pull reaches one pod.
func TestImageIsNotPulled(t *testing.T) {
	theClaims.sideBySide(t, changes(theInjector), changes(annotated))
	testEnv.Test(t, features.New("an agent's image that can't be pulled").
		Assess("waits on one pod and is in no other", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			old := theWorld.pod(ctx, t, annotated, "tidb")
			theWorld.setAgentImage(ctx, t, agentImage, noImage)
			rolloutStatus(ctx, t)
			if err := theWorld.Delete(ctx, &old); err != nil {
				t.Fatal(err)
			}
			err := theWorld.poll(ctx, func(ctx context.Context) error {
				pods := theWorld.pods(ctx, t, annotated, "tidb")
				if len(pods) != 1 || pods[0].UID == old.UID || imageOfAgent(pods[0]) != noImage {
					return fmt.Errorf("the new pod of tidb is not there with the image %s", noImage)
				}
				if pods[0].Status.Phase != corev1.PodPending || !slices.ContainsFunc(pods[0].Status.ContainerStatuses, waitsForImage) {
					return fmt.Errorf("pod %s is %s with %+v, want it to wait for its image", pods[0].Name, pods[0].Status.Phase, pods[0].Status.ContainerStatuses)
				}
				old = pods[0]
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			// Each replica sees it by itself.
			err = theWorld.poll(ctx, func(ctx context.Context) error {
				for i := range 20 {
					if agents(theWorld.remade(ctx, t)) != 0 {
						return fmt.Errorf("%d pods in a row go without the agent, want 20", i)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return ctx
		}).
		Assess("is not in a pod that is made again, which starts", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			waits := theWorld.pods(ctx, t, annotated, "tidb")[0]
			if err := theWorld.Delete(ctx, &waits); err != nil {
				t.Fatal(err)
			}
			pod := theWorld.newPod(ctx, t, annotated, "tidb", string(waits.UID))
			if agents(pod) != 0 {
				t.Errorf("the new pod %s has an agent of the image %s", pod.Name, imageOfAgent(pod))
			}
			err := theWorld.poll(ctx, func(ctx context.Context) error {
				var events corev1.EventList
				if err := theWorld.List(ctx, &events); err != nil {
					return err
				}
				for _, e := range events.Items {
					if e.InvolvedObject.Name == annotated && e.Reason == "image_unavailable" && e.Type == corev1.EventTypeWarning && strings.Contains(e.Message, waits.Name) {
						return nil
					}
				}
				return fmt.Errorf("no Event on TidbCluster %s", annotated)
			})
			if err != nil {
				t.Error(err)
			}
			return ctx
		}).
		Assess("is forgotten when the injector gets another one", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			theWorld.setAgentImage(ctx, t, agentImage, agentImage)
			rolloutStatus(ctx, t)
			pod := theWorld.recreate(ctx, t, annotated, "tidb")[0]
			if image := imageOfAgent(pod); image != agentImage {
				t.Errorf("the new pod's agent is of the image %q, want %s", image, agentImage)
			}
			return ctx
		}).Feature())
}

// setAgentImage sets the image that the injector's pod tries first, and the one that
// is injected.
func (w *world) setAgentImage(ctx context.Context, t *testing.T, tried, injected string) {
	t.Helper()
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: injectorName, Namespace: tidelayNamespace}}
	patch := fmt.Appendf(nil, `{"spec":{"template":{"spec":{"initContainers":[{"name":%q,"image":%q}],
		"containers":[{"name":"injector","env":[{"name":"AGENT_IMAGE","value":%q}]}]}}}}`, guard, tried, injected)
	if err := w.injector.Patch(ctx, deployment, k8s.Patch{PatchType: types.StrategicMergePatchType, Data: patch}); err != nil {
		t.Fatalf("patch Deployment %s: %v", injectorName, err)
	}
}

// replicas lists the injector's pods.
func (w *world) replicas(ctx context.Context, t *testing.T) []corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	if err := w.injector.List(ctx, &pods, resources.WithLabelSelector("app.kubernetes.io/component=injector")); err != nil {
		t.Fatal(err)
	}
	return pods.Items
}

// imageOfAgent returns the image of a pod's agent, or "" if it has none.
func imageOfAgent(pod corev1.Pod) string {
	for _, c := range pod.Spec.Containers {
		if c.Name == agentName {
			return c.Image
		}
	}
	return ""
}

func waitsForImage(s corev1.ContainerStatus) bool {
	return s.State.Waiting != nil && (s.State.Waiting.Reason == "ErrImagePull" || s.State.Waiting.Reason == "ImagePullBackOff")
}
