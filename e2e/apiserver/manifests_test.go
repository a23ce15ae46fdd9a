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

// What no controller joins here, a Deployment, its budget and the Service, must fit
// together by name.
func TestManifestsFitTogether(t *testing.T) {
	for name := range programs {
		t.Run(name, func(t *testing.T) {
			deployment, budget := world.deployment(t, name), &policyv1.PodDisruptionBudget{}
			must(t, world.client.Get(t.Context(), client.ObjectKeyFromObject(deployment), budget))
			budgeted, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
			must(t, err)
			if pods := labels.Set(deployment.Spec.Template.Labels); !budgeted.Matches(pods) {
				t.Errorf("the PodDisruptionBudget selects %s, the pods have %s", budgeted, pods)
			}
			container := deployment.Spec.Template.Spec.Containers[0]
			wantPort(t, container, "readiness probe", container.ReadinessProbe.HTTPGet.Port)
			wantPort(t, container, "liveness probe", container.LivenessProbe.HTTPGet.Port)
			if got := *deployment.Spec.Replicas; got != 2 {
				t.Errorf("the Deployment has %d replicas, want 2", got)
			}
		})
	}
	injector, service := world.deployment(t, injectorName), &corev1.Service{}
	must(t, world.client.Get(t.Context(), client.ObjectKeyFromObject(injector), service))
	if pods := labels.Set(injector.Spec.Template.Labels); !labels.SelectorFromSet(service.Spec.Selector).Matches(pods) {
		t.Errorf("the Service selects %s, the pods have %s", service.Spec.Selector, pods)
	}
	wantPort(t, injector.Spec.Template.Spec.Containers[0], "Service", service.Spec.Ports[0].TargetPort)
	if pods := labels.Set(world.deployment(t, controllerName).Spec.Template.Labels); labels.SelectorFromSet(service.Spec.Selector).Matches(pods) {
		t.Errorf("the Service selects %s, which are the controller's pods too", service.Spec.Selector)
	}
}

// wantPort is an error unless the container has the port.
func wantPort(t *testing.T, container corev1.Container, what string, port intstr.IntOrString) {
	t.Helper()
	if !hasPort(container.Ports, port) {
		t.Errorf("the %s goes to port %s, which is none of %v", what, port.String(), container.Ports)
	}
}

// The pods of the shipped Deployments pass the Pod Security level that the shipped
// namespace enforces.
func TestShippedPodsAreAdmitted(t *testing.T) {
	for name := range programs {
		t.Run(name, func(t *testing.T) {
			deployment := world.deployment(t, name)
			template := deployment.Spec.Template
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{GenerateName: deployment.Name + "-", Namespace: systemNamespace, Labels: template.Labels},
				Spec:       template.Spec,
			}
			must(t, world.client.Create(t.Context(), pod))
			t.Cleanup(func() { must(t, world.client.Delete(context.Background(), pod)) })
		})
	}
}

func hasPort(ports []corev1.ContainerPort, want intstr.IntOrString) bool {
	for _, port := range ports {
		if port.Name == want.StrVal || port.ContainerPort == want.IntVal {
			return true
		}
	}
	return false
}

func (s *suite) deployment(t *testing.T, name string) *appsv1.Deployment {
	t.Helper()
	deployment := &appsv1.Deployment{}
	must(t, s.client.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: name}, deployment))
	return deployment
}
