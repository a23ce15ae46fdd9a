package webhook

// Annotations the injector puts on a pod. TiDB Operator's start scripts source
// the pod's annotations as shell (/etc/podinfo/annotations), so every key is
// prefixed and no value may hold a dollar sign, a backtick or a backslash.
const (
	// StatusAnnotation holds a Status as JSON. With the container beside it, it
	// is how an injected pod is recognized.
	StatusAnnotation = "tidelay.io/status"
	// DefaultContainerAnnotation tells kubectl which container exec and logs
	// mean. It is set to the database's, and only where it is absent.
	DefaultContainerAnnotation = "kubectl.kubernetes.io/default-container"
)

// Status is the value of StatusAnnotation: what was added, by whom, and for
// which TidbCluster.
type Status struct {
	Version    string `json:"version"`
	Container  string `json:"container"`
	Image      string `json:"image"`
	Cluster    string `json:"cluster"`
	ClusterUID string `json:"clusterUID"`
	Component  string `json:"component"`
}
