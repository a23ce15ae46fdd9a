package injection

import (
	"slices"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Refused returns the decision about pod in place of d, which would inject it, when
// the API server does not make the pod with the agent. The detail says in a sentence
// how that is known. The pod gets no agent, and an annotation that says why.
func (d Decision) Refused(pod *corev1.Pod, detail string) Decision {
	d.Reason, d.Detail, d.Patch = Refused, detail, nil
	if pod.Annotations == nil {
		d.Patch = append(d.Patch, jsonpatch.NewOperation("add", "/metadata/annotations", map[string]string{}))
	}
	d.Patch = append(d.Patch, jsonpatch.NewOperation("add", annotationPath(NotInjectedAnnotation), string(Refused)))
	return d
}

// Marked returns d, which must have a patch, with the UID of its admission in the
// annotation AdmissionAnnotation of the pod.
func (d Decision) Marked(admission types.UID) Decision {
	mark := jsonpatch.NewOperation("add", annotationPath(AdmissionAnnotation), string(admission))
	d.Patch = append(slices.Clone(d.Patch), mark)
	return d
}
