package webhook

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// ContainerName is the name of the agent's container in every injected pod.
const ContainerName = "tidelay-agent"

const (
	stateVolume   = "tidelay-state"
	noTokenVolume = "tidelay-no-token"

	stateDir = "/run/tidelay"
	tokenDir = "/var/run/secrets/kubernetes.io/serviceaccount"
)

// container returns the agent's container for pod.
//
// TiDB Operator reads pods with its own, older Pod type and writes them back
// whole, so a field it does not know would be lost and every such update
// rejected. Only fields of k8s.io/api v0.28 (operator v1.6.0) are used, here
// and in volumes.
func (c Config) container(pod *corev1.Pod) corev1.Container {
	return corev1.Container{
		Name:            ContainerName,
		Image:           c.Image,
		ImagePullPolicy: c.PullPolicy,
		Args:            []string{"--state-dir=" + stateDir},
		Env:             environment(pod),
		Ports: []corev1.ContainerPort{
			{Name: "tidelay", ContainerPort: api.Port, Protocol: corev1.ProtocolTCP},
		},
		Resources:       resources(pod),
		SecurityContext: securityContext(),
		VolumeMounts: []corev1.VolumeMount{
			{Name: stateVolume, MountPath: stateDir},
			// The API server mounts the pod's service account token into every
			// container that has nothing mounted there.
			{Name: noTokenVolume, MountPath: tokenDir, ReadOnly: true},
		},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		// No probes: TiDB Operator's rolling upgrades wait for the pod to be
		// ready, and an ailing agent must never hold up the database.
	}
}

func volumes() []corev1.Volume {
	size := resource.MustParse("1Mi")
	empty := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &size}}
	return []corev1.Volume{
		{Name: stateVolume, VolumeSource: empty},
		{Name: noTokenVolume, VolumeSource: empty},
	}
}

// environment tells the agent which packets are kubelet's probes. The node's
// address and the ports exempt them together, so neither is given alone.
func environment(pod *corev1.Pod) []corev1.EnvVar {
	env := []corev1.EnvVar{
		// Collect harder before the memory limit is reached.
		{Name: "GOMEMLIMIT", Value: "96MiB"},
	}
	if ports := podProbePorts(pod); ports != "" {
		env = append(env,
			corev1.EnvVar{Name: "NODE_IP", ValueFrom: &corev1.EnvVarSource{
				FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "status.hostIP"},
			}},
			corev1.EnvVar{Name: "PROBE_PORTS", Value: ports},
		)
	}
	return env
}

// securityContext grants NET_ADMIN and nothing else. It takes UID 0: a process
// of another user does not get an added capability into its effective set.
// Every field is set so that nothing is inherited from the pod.
func securityContext() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		RunAsUser:                new(int64(0)),
		RunAsGroup:               new(int64(0)),
		RunAsNonRoot:             new(false),
		AllowPrivilegeEscalation: new(false),
		ReadOnlyRootFilesystem:   new(true),
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		Capabilities: &corev1.Capabilities{
			Drop: []corev1.Capability{"ALL"},
			Add:  []corev1.Capability{"NET_ADMIN"},
		},
	}
}
