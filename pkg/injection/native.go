package injection

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// nativeOperator is the first TiDB Operator whose Pod type (k8s.io/api v0.28) has
// the field restartPolicy of init containers. An older one drops the field when it
// writes a pod back, and the API server refuses that. Kubernetes has native
// sidecars since 1.29 (KEP-753), which is older than what the manifests need.
const nativeOperator = "v1.6.0"

// native reports whether the agent becomes a native sidecar. If the TidbCluster asks
// for one and does not get it, problem says why in a sentence. An operator whose
// image does not tell a version is taken for a new one, because the user asked.
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

// isNative reports whether an init container is a native sidecar.
func isNative(c corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}
