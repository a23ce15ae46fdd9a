package injection

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestResourcesKeepTheClass(t *testing.T) {
	list := func(cpu, memory string) corev1.ResourceList {
		l := corev1.ResourceList{}
		if cpu != "" {
			l[corev1.ResourceCPU] = resource.MustParse(cpu)
		}
		if memory != "" {
			l[corev1.ResourceMemory] = resource.MustParse(memory)
		}
		return l
	}
	both := corev1.ResourceRequirements{Requests: list("2", "4Gi"), Limits: list("2000m", "4096Mi")}
	tests := map[string]struct {
		containers, initContainers []corev1.ResourceRequirements
		guaranteed                 bool
		limited                    bool // beyond the guaranteed
	}{
		"if requests equal limits, guaranteed":   {containers: []corev1.ResourceRequirements{both}, guaranteed: true},
		"if requests are left out, guaranteed":   {containers: []corev1.ResourceRequirements{{Limits: list("2", "4Gi")}}, guaranteed: true},
		"if nothing is set, not":                 {containers: []corev1.ResourceRequirements{{}}},
		"if CPU is not limited, not":             {containers: []corev1.ResourceRequirements{{Limits: list("", "4Gi")}}},
		"if a limit is zero, not":                {containers: []corev1.ResourceRequirements{{Limits: list("0", "4Gi")}}},
		"if a request is smaller, not":           {containers: []corev1.ResourceRequirements{{Limits: list("2", "4Gi"), Requests: list("1", "4Gi")}}, limited: true},
		"if another container is not, not":       {containers: []corev1.ResourceRequirements{both, {}}},
		"if an init container is not, not":       {containers: []corev1.ResourceRequirements{both}, initContainers: []corev1.ResourceRequirements{{}}},
		"if init containers are too, guaranteed": {containers: []corev1.ResourceRequirements{both}, initContainers: []corev1.ResourceRequirements{both}, guaranteed: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{}
			for _, r := range test.containers {
				pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Resources: r})
			}
			for _, r := range test.initContainers {
				pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{Resources: r})
			}
			if got := guaranteed(pod); got != test.guaranteed {
				t.Errorf("guaranteed = %v, want %v", got, test.guaranteed)
			}
			agent := testConfig.resources(pod)
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Resources: agent})
			if got := guaranteed(pod); got != test.guaranteed {
				t.Errorf("guaranteed = %v with the agent, want %v", got, test.guaranteed)
			}
			if _, limited := agent.Limits[corev1.ResourceCPU]; limited != (test.guaranteed || test.limited) {
				t.Errorf("the agent's CPU is limited: %v, want only where it must be", limited)
			}
			for name, limit := range agent.Limits {
				if request := agent.Requests[name]; request.IsZero() || request.Cmp(limit) > 0 {
					t.Errorf("the agent requests %s of %s, more than its limit %s or nothing", request.String(), name, limit.String())
				}
			}
		})
	}
}

func TestResourcesStayWithinThePodsOwn(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{Resources: &corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2")},
	}}}
	if agent := testConfig.resources(pod); agent.Requests != nil || agent.Limits != nil {
		t.Errorf("the agent adds %+v to a pod that has resources of its own", agent)
	}
}
