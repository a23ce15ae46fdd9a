package webhook

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// nativeOperator is the first TiDB Operator that knows the field restartPolicy
// of init containers: it is built with k8s.io/api v0.28. One that does not would
// lose it when it writes a pod back, and the API server refuse that. Kubernetes
// has native sidecars since 1.29 (KEP-753), before what the manifests need.
const nativeOperator = "v1.6.0"

// native reports whether the agent is to be a native sidecar, and in a sentence
// why it is not where the TidbCluster asks for one. An operator whose image does
// not tell its version is taken for a new one: the annotation asks for it.
func native(optIn tidbcluster.OptIn, facts Facts) (ok bool, problem string) {
	if !optIn.Native {
		return false, ""
	}
	asked := fmt.Sprintf("annotation %s is %q, taken as %q", tidbcluster.SidecarAnnotation, "native", "container")
	newer, err := version.MustParseSemantic(nativeOperator).Compare(facts.Operator)
	switch {
	case facts.OperatorErr != nil:
		return false, fmt.Sprintf("%s: TiDB Operator's version is not known: %v; accepted: %s and later", asked, facts.OperatorErr, nativeOperator)
	case err == nil && newer > 0:
		return false, fmt.Sprintf("%s: TiDB Operator is %s; accepted: %s and later", asked, facts.Operator, nativeOperator)
	default:
		return true, ""
	}
}

// restarts reports whether an init container is a native sidecar.
func restarts(c corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}
