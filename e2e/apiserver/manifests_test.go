//go:build apiserver

package apiserver

import (
	"context"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What no controller joins here, the Service, the budget and the Deployment,
// must fit together by name.
func TestManifestsFitTogether(t *testing.T) {
	key := client.ObjectKey{Namespace: systemNamespace, Name: injectorName}
	deployment, service, budget := world.deployment(t), &corev1.Service{}, &policyv1.PodDisruptionBudget{}
	must(t, world.client.Get(t.Context(), key, service))
	must(t, world.client.Get(t.Context(), key, budget))

	pods := labels.Set(deployment.Spec.Template.Labels)
	budgeted, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
	must(t, err)
	for name, selector := range map[string]labels.Selector{
		"Service":             labels.SelectorFromSet(service.Spec.Selector),
		"PodDisruptionBudget": budgeted,
	} {
		if !selector.Matches(pods) {
			t.Errorf("the %s selects %s, the pods have %s", name, selector, pods)
		}
	}
	container := deployment.Spec.Template.Spec.Containers[0]
	wants := map[string]intstr.IntOrString{
		"Service":         service.Spec.Ports[0].TargetPort,
		"readiness probe": container.ReadinessProbe.HTTPGet.Port,
		"liveness probe":  container.LivenessProbe.HTTPGet.Port,
	}
	for what, port := range wants {
		if !hasPort(container.Ports, port) {
			t.Errorf("the %s goes to port %s, which is none of %v", what, port.String(), container.Ports)
		}
	}
	if got := *deployment.Spec.Replicas; got != 2 {
		t.Errorf("the Deployment has %d replicas, want 2", got)
	}
}

// The pod of the shipped Deployment passes the Pod Security level that the
// shipped namespace enforces.
func TestShippedPodIsAdmitted(t *testing.T) {
	deployment := world.deployment(t)
	template := deployment.Spec.Template
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: deployment.Name + "-", Namespace: systemNamespace, Labels: template.Labels},
		Spec:       template.Spec,
	}
	must(t, world.client.Create(t.Context(), pod))
	t.Cleanup(func() { must(t, world.client.Delete(context.Background(), pod)) })
}

func hasPort(ports []corev1.ContainerPort, want intstr.IntOrString) bool {
	for _, port := range ports {
		if port.Name == want.StrVal || port.ContainerPort == want.IntVal {
			return true
		}
	}
	return false
}

func (s *suite) deployment(t *testing.T) *appsv1.Deployment {
	t.Helper()
	deployment := &appsv1.Deployment{}
	must(t, s.client.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: injectorName}, deployment))
	return deployment
}
