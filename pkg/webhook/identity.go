package webhook

import (
	"encoding/json"
	"hash/fnv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/injection"
)

// identity is what two admissions have in common if they are for the same pod, asked
// for again. After a change of the workload or of the agent's settings it is another
// pod.
//
// The pod's spec is left out: the API server puts a volume with a random name into it
// (plugin ServiceAccount).
type identity struct {
	namespace string
	// owner is the UID of the pod's controller.
	owner types.UID
	// name is the pod's name, or what it begins with if generated is true.
	name      string
	generated bool
	// revision is that of the workload's template, from the pod's labels.
	revision string
	// patch is a hash of what is added to the pod's spec. It depends on the
	// rest of the spec too.
	patch uint64
}

// workload returns what id has in common with the other pods of the same controller,
// template and agent.
func (id identity) workload() identity {
	id.name = ""
	return id
}

// unpatched returns id without the patch, which depends on the rest of the pod, and so
// on what another webhook makes of it.
func (id identity) unpatched() identity {
	id.patch = 0
	return id
}

// identify returns the identity of a pod that d is to inject.
func identify(namespace string, pod *corev1.Pod, d injection.Decision) identity {
	id := identity{namespace: namespace, name: pod.Name}
	if pod.Name == "" {
		id.name, id.generated = pod.GenerateName, true
	}
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		id.owner = owner.UID
	}
	// One of them: the first is a StatefulSet's, of both kinds, the second a
	// ReplicaSet's.
	id.revision = pod.Labels[appsv1.ControllerRevisionHashLabelKey] + pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
	hash := fnv.New64a()
	for _, op := range d.Patch {
		if strings.HasPrefix(op.Path, "/spec/") {
			// It can't fail: the values are Kubernetes' own types, and a hash takes
			// every byte.
			_ = json.NewEncoder(hash).Encode(op)
		}
	}
	id.patch = hash.Sum64()
	return id
}
