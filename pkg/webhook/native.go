package webhook

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// What a native sidecar takes: the field restartPolicy of init containers is on
// by default since Kubernetes 1.29 (KEP-753), and TiDB Operator knows it since
// v1.6.0, which is built with k8s.io/api v0.28. An operator that does not would
// lose it when it writes a pod back, and the API server refuse that.
const (
	nativeKubernetes = "v1.29.0"
	nativeOperator   = "v1.6.0"
)

// native reports whether the agent is to be a native sidecar, and in a sentence
// why it is not where the TidbCluster asks for one. An operator whose image does
// not tell its version is taken for a new one: the annotation asks for it.
func (c Config) native(optIn tidbcluster.OptIn, operator string) (ok bool, problem string) {
	asked := fmt.Sprintf("annotation %s is %q, taken as %q", tidbcluster.SidecarAnnotation, "native", "container")
	older, err := version.MustParseSemantic(nativeOperator).Compare(operator)
	switch {
	case !optIn.Native:
		return false, ""
	case c.Kubernetes == nil:
		return false, asked + ": the API server's version is not known yet"
	case !c.Kubernetes.AtLeast(version.MustParseSemantic(nativeKubernetes)):
		return false, fmt.Sprintf("%s: the API server is v%s; accepted: %s and later", asked, c.Kubernetes, nativeKubernetes)
	case err == nil && older > 0:
		return false, fmt.Sprintf("%s: TiDB Operator is %s; accepted: %s and later", asked, operator, nativeOperator)
	default:
		return true, ""
	}
}

// restarts reports whether an init container is a native sidecar.
func restarts(c corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}
