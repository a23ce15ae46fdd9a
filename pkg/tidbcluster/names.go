package tidbcluster

// AnnotationPrefix begins every annotation of Tidelay.
const AnnotationPrefix = "tidelay.io/"

// Annotations of a TidbCluster.
const (
	// InjectAnnotation opts a TidbCluster in when it is exactly "true". On a
	// pod it opts the pod out when it is anything else.
	InjectAnnotation = AnnotationPrefix + "inject"
	// ComponentsAnnotation narrows the opt-in to a comma-separated list of
	// components.
	ComponentsAnnotation = AnnotationPrefix + "components"
	// MaxDurationAnnotation is the longest life of a fault, such as "1h", from
	// api.MinDuration to api.MaxDuration. It replaces the injector's own setting.
	MaxDurationAnnotation = AnnotationPrefix + "max-duration"
	// ProtectAnnotation refuses and ends every NetworkFault of the TidbCluster. Every
	// value but "false" does, so that a misspelt one protects.
	ProtectAnnotation = AnnotationPrefix + "protect"
	// SidecarAnnotation says what the agent is in a pod: "container" for one
	// container beside the others, or "native" for a native sidecar, which is an
	// init container that restarts. A native sidecar starts before the containers
	// and ends after them.
	SidecarAnnotation = AnnotationPrefix + "sidecar"
)

// InjectedCondition is the type of the TidbCluster's condition that says whether
// its pods carry the agent.
const InjectedCondition = "TidelayInjected"

// ComponentLabel is the label with the component's name on every pod that TiDB
// Operator makes for a component (pkg/apis/label/label.go).
const ComponentLabel = "app.kubernetes.io/component"

// InstanceLabel is the label with the name of the TidbCluster on every pod that TiDB
// Operator makes for it (pkg/apis/label/label.go). Anyone can write it.
const InstanceLabel = "app.kubernetes.io/instance"

// OperatorLabels are the labels of every object that TiDB Operator makes. Anyone
// can write them, so they narrow a search and prove nothing.
func OperatorLabels() map[string]string {
	return map[string]string{"app.kubernetes.io/managed-by": "tidb-operator"}
}
