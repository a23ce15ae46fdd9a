package injection

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// ContainerName is the name of the agent's container in every injected pod.
const ContainerName = "tidelay-agent"

const (
	stateVolume   = "tidelay-state"
	noTokenVolume = "tidelay-no-token"
	tokenVolume   = "tidelay-token"

	stateDir          = "/run/tidelay"
	serviceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"
	// tokenDir is where the agent's own bearer token is mounted.
	tokenDir = "/etc/tidelay"
	// TokenKey is the key of the token in its Secret.
	TokenKey = "token"
)

// container returns the agent's container for pod. Faults end after maxDuration at
// the latest; 0 sets no such bound.
//
// Only fields of k8s.io/api v0.28 (TiDB Operator v1.6.0) are used, here and in
// volumes. The operator reads pods with its own, older Pod type and writes them
// back whole: it would drop a field that it does not know, and the API server
// would reject each such update.
func (c Config) container(pod *corev1.Pod, maxDuration time.Duration) corev1.Container {
	container := corev1.Container{
		Name:            ContainerName,
		Image:           c.Image,
		ImagePullPolicy: c.PullPolicy,
		Args:            []string{"--state-dir=" + stateDir},
		Env:             c.environment(pod),
		Ports: []corev1.ContainerPort{
			{Name: "tidelay", ContainerPort: api.Port, Protocol: corev1.ProtocolTCP},
		},
		Resources:       c.resources(pod),
		SecurityContext: securityContext(),
		VolumeMounts: []corev1.VolumeMount{
			{Name: stateVolume, MountPath: stateDir},
			// The API server mounts the pod's service account token into every
			// container that has nothing mounted there.
			{Name: noTokenVolume, MountPath: serviceAccountDir, ReadOnly: true},
		},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		// No probes: TiDB Operator's rolling upgrades wait until the pod is ready, and
		// a broken agent must never delay the database. A container that does not run
		// would do that too, so the agent never ends for what it meets in the pod
		// (agent.Run).
	}
	if maxDuration > 0 {
		container.Args = append(container.Args, maxDurationFlag+maxDuration.String())
	}
	if c.TokenSecret != "" {
		container.Args = append(container.Args, "--token-file="+tokenDir+"/"+TokenKey)
		container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: tokenVolume, MountPath: tokenDir, ReadOnly: true})
	}
	return container
}

// volumes returns what the agent's container mounts. The token's Secret is
// optional, because a missing Secret must not keep the database from starting. An
// agent without its token refuses every request.
func (c Config) volumes() []corev1.Volume {
	size := resource.MustParse("1Mi")
	empty := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &size}}
	all := []corev1.Volume{
		{Name: stateVolume, VolumeSource: empty},
		{Name: noTokenVolume, VolumeSource: empty},
	}
	if c.TokenSecret != "" {
		all = append(all, corev1.Volume{Name: tokenVolume, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName:  c.TokenSecret,
			Items:       []corev1.KeyToPath{{Key: TokenKey, Path: TokenKey}},
			DefaultMode: new(int32(0o400)),
			Optional:    new(true),
		}}})
	}
	return all
}

// environment returns the agent's environment variables. By POD_UID the agent knows
// which requests are meant for another pod. By NODE_IP it tells whether it is in the
// node's own network, where it does nothing. With PROBE_PORTS as well it tells which
// packets are kubelet's probes.
func (c Config) environment(pod *corev1.Pod) []corev1.EnvVar {
	env := []corev1.EnvVar{
		// Three quarters of the memory limit: the garbage collector works harder
		// before the limit is reached.
		{Name: "GOMEMLIMIT", Value: fmt.Sprintf("%dMiB", c.Resources.Limits.Memory().Value()*3/4>>20)},
		fromPod("POD_UID", "metadata.uid"),
		fromPod("NODE_IP", "status.hostIP"),
	}
	if ports := podProbePorts(pod); ports != "" {
		env = append(env, corev1.EnvVar{Name: "PROBE_PORTS", Value: ports})
	}
	return env
}

// fromPod returns an environment variable with the value of a field of the pod.
func fromPod(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path},
	}}
}

// securityContext grants NET_ADMIN and nothing else. The user is UID 0, because a
// process of another user does not get an added capability into its effective set.
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
