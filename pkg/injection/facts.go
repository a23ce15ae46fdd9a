package injection

import "fmt"

// EnforceLabel is the label of a namespace with the Pod Security level that it enforces.
const EnforceLabel = "pod-security.kubernetes.io/enforce"

// Facts are what a decision needs to know beside the pod and its TidbCluster.
// Package gather reads them.
type Facts struct {
	// PodSecurity is the Pod Security level that the pod's namespace enforces
	// (EnforceLabel), or "" if it enforces none.
	PodSecurity string
	// ImageProblem says in a sentence on which pod the agent's image can't be pulled,
	// or is "" if that is not known of any.
	ImageProblem string
	// Operator is the image tag of TiDB Operator, usually a version such as
	// "v1.6.0", or "" if it has none. It matters only for a TidbCluster that asks
	// for a native sidecar.
	Operator string
	// OperatorErr is the error of reading Operator.
	OperatorErr error
}

// ImageProblem is an image of the agent that can't be pulled; zero is for none.
type ImageProblem struct {
	// Image is the one that kubelet pulls. Another webhook may have put it in place of the
	// configured one.
	Image string
	// Detail says in a sentence on which pod, and kubelet's words.
	Detail string
}

// Exclusion returns why no pod of the namespace is injected, and what led to it. The
// reason is "" if nothing keeps all of them out.
func (f Facts) Exclusion() (reason Reason, detail string) {
	switch {
	case ForbidsNetAdmin(f.PodSecurity):
		return PodSecurity, fmt.Sprintf("the namespace enforces Pod Security level %.64q, which forbids NET_ADMIN; want privileged", f.PodSecurity)
	case f.ImageProblem != "":
		return ImageUnavailable, f.ImageProblem
	default:
		return "", ""
	}
}

// ForbidsNetAdmin reports whether a namespace that enforces a Pod Security level
// rejects a container with NET_ADMIN. The API server takes a level that it does
// not know for the strictest one, and so does this.
func ForbidsNetAdmin(level string) bool {
	return level != "" && level != "privileged"
}
