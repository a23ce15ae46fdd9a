//go:build apiserver

package apiserver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// A Guaranteed pod stays so: CPU pinning and eviction order depend on it.
func TestQualityOfServiceIsKept(t *testing.T) {
	size := corev1.ResourceList{"cpu": resource.MustParse("2"), "memory": resource.MustParse("4Gi")}
	for class, resources := range map[corev1.PodQOSClass]corev1.ResourceRequirements{
		corev1.PodQOSGuaranteed: {Requests: size, Limits: size},
		corev1.PodQOSBurstable:  {Requests: size},
	} {
		t.Run(string(class), func(t *testing.T) {
			n := newNamespace(t)
			got := n.admit(n.tikv(optedIn(), func(pod *corev1.Pod) { pod.Spec.Containers[0].Resources = resources }))
			got.wants(t, "injected", "tikv")
			if got.pod.Status.QOSClass != class {
				t.Errorf("the pod is %s, want %s", got.pod.Status.QOSClass, class)
			}
		})
	}
}

// Where the pod as a whole has resources (1.34) and its containers fill them,
// the agent must fit in: the API server refuses a pod whose parts are larger.
func TestPodLevelResources(t *testing.T) {
	size := corev1.ResourceList{"cpu": resource.MustParse("2"), "memory": resource.MustParse("4Gi")}
	full := corev1.ResourceRequirements{Requests: size, Limits: size}
	n := newNamespace(t)
	got := n.admit(n.tikv(optedIn(), func(pod *corev1.Pod) {
		pod.Spec.Resources, pod.Spec.Containers[0].Resources = full.DeepCopy(), full
	}))
	got.wants(t, "injected", "tikv")
	if got.pod.Status.QOSClass != corev1.PodQOSGuaranteed {
		t.Errorf("the pod is %s, want Guaranteed", got.pod.Status.QOSClass)
	}
}

// A quota on CPU limits makes the API server refuse a pod of which one container
// has none. Where the database's containers have theirs, so must the agent.
func TestQuotaOnLimits(t *testing.T) {
	n := newNamespace(t)
	plenty := corev1.ResourceList{"limits.cpu": resource.MustParse("100"), "limits.memory": resource.MustParse("100Gi")}
	quota := &corev1.ResourceQuota{ObjectMeta: n.meta("quota", nil), Spec: corev1.ResourceQuotaSpec{Hard: plenty}}
	n.make(quota)
	// The quota controller's part.
	quota.Status.Hard = plenty
	quota.Status.Used = corev1.ResourceList{"limits.cpu": resource.MustParse("0"), "limits.memory": resource.MustParse("0")}
	must(t, world.client.Status().Update(t.Context(), quota))
	eventually(t, 10*time.Second, func() error {
		_, _, err := n.send(t.Context(), n.pod("unlimited", "tikv", nil), dryRun, &warnings{})
		if err == nil || !strings.Contains(err.Error(), "must specify limits.cpu") {
			return fmt.Errorf("the quota is not in force: %w", err)
		}
		return nil
	})

	got := n.admit(n.tikv(optedIn(), func(pod *corev1.Pod) {
		pod.Spec.Containers[0].Resources = corev1.ResourceRequirements{
			Requests: corev1.ResourceList{"cpu": resource.MustParse("1"), "memory": resource.MustParse("2Gi")},
			Limits:   corev1.ResourceList{"cpu": resource.MustParse("2"), "memory": resource.MustParse("4Gi")},
		}
	}))
	got.wants(t, "injected", "tikv")
}
