package injection

// Annotations that the injector adds to a pod. TiDB Operator's start scripts source
// the pod's annotations as shell (/etc/podinfo/annotations), so every key has a
// prefix and no value may contain a dollar sign, a backtick or a backslash.
const (
	// AdmissionAnnotation has the UID of the admission that made the pod what it is,
	// with the agent or refused. By it the injector finds the pod again: before the
	// pod is made, it has no UID and may have no name.
	AdmissionAnnotation = "tidelay.io/admission"
	// NotInjectedAnnotation is on a pod that would have the agent if the API server
	// made it with one. Its value is the reason, Refused. It is for people and for
	// the check of running pods: no later admission depends on it.
	NotInjectedAnnotation = "tidelay.io/not-injected"
	// StatusAnnotation has a Status as JSON. A pod with this annotation and the
	// agent's container is recognized as injected.
	StatusAnnotation = "tidelay.io/status"
	// DefaultContainerAnnotation is kubectl's: it names the container that exec and
	// logs mean. It is set to the database's, and only if it is absent.
	DefaultContainerAnnotation = "kubectl.kubernetes.io/default-container"
)

// Status is the value of StatusAnnotation: what was added to the pod, and for
// which TidbCluster.
type Status struct {
	// Version is the injector's version, as "injector --version" prints it.
	Version string `json:"version"`
	// Container is the name of the agent's container, always ContainerName.
	Container string `json:"container"`
	// Image is the agent's image, as it was configured at the time.
	Image string `json:"image"`
	// Cluster is the name of the TidbCluster, which is in the pod's namespace.
	Cluster string `json:"cluster"`
	// ClusterUID is the UID of the TidbCluster.
	ClusterUID string `json:"clusterUID"`
	// Component is what the pod is in the TidbCluster, one of
	// tidbcluster.Components.
	Component string `json:"component"`
}
