package render

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// workloads are the kinds that have a template of pods, with the way to what holds it.
func workloads() map[schema.GroupKind][]string {
	spec := []string{"spec"}
	return map[schema.GroupKind][]string{
		{Group: "apps", Kind: "StatefulSet"}:             spec,
		{Group: "apps.pingcap.com", Kind: "StatefulSet"}: spec,
		{Group: "apps", Kind: "Deployment"}:              spec,
		{Group: "apps", Kind: "ReplicaSet"}:              spec,
		{Group: "apps", Kind: "DaemonSet"}:               spec,
		{Group: "batch", Kind: "Job"}:                    spec,
		{Group: "batch", Kind: "CronJob"}:                {"spec", "jobTemplate", "spec"},
	}
}

// template returns where the pod of an object is: holder[key]. It is the object itself for a
// pod. known is false for a kind that makes no pods, as far as is known.
func template(o object, of head) (holder object, key string, known bool) {
	if of.is("", "Pod") {
		return object{"": o}, "", true
	}
	way, known := workloads()[schema.FromAPIVersionAndKind(of.APIVersion, of.Kind).GroupKind()]
	for _, name := range way {
		o, _ = o[name].(object)
	}
	return o, "template", known
}

// adopt gives a pod what it has once its workload has made it: the namespace, and the workload
// as its controller.
func (h head) adopt(pod *corev1.Pod, namespace string) {
	pod.Namespace = cmp.Or(h.Namespace, namespace)
	if h.is("", "Pod") {
		return
	}
	owner := metav1.OwnerReference{APIVersion: h.APIVersion, Kind: h.Kind, Name: h.Name, UID: h.UID, Controller: new(true)}
	if h.is("apps", "Deployment") { // a ReplicaSet is between, whose name ends in a hash
		owner.Kind, owner.Name = "ReplicaSet", h.Name+"-hash"
	}
	pod.OwnerReferences = []metav1.OwnerReference{owner}
}
