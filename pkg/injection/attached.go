package injection

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// noStateFlag has the agent keep its faults in the kernel alone.
const noStateFlag = "--state-dir="

// attachedQueueMemory is what the packets that wait in one fault's queue may take where
// the agent has no memory limit of its own: the pod pays for it, and the database with it.
const attachedQueueMemory = "64Mi"

// attachedName is what an attached agent is called: tidelay-agent, then tidelay-agent-2
// and so on, because the name of an ephemeral container can't be used again.
var attachedName = regexp.MustCompile(`^` + ContainerName + `(-[1-9][0-9]*)?$`)

// Attachment returns the agent's container for a running pod, as the next ephemeral
// container to be added. Faults end after maxDuration at the latest, which must be above
// 0: kubelet never starts such a container again, and a fault of netem outlives it.
//
// It is the injected container without what the API server refuses in an ephemeral one:
// ports, resources, and volumes that the pod does not have. So it keeps its faults in the
// kernel alone, asks for no token, and its memory counts as the pod's.
func (c Config) Attachment(pod *corev1.Pod, maxDuration time.Duration) corev1.EphemeralContainer {
	agent := c.container(pod, maxDuration)
	agent.Name = nextName(pod)
	agent.Args = []string{noStateFlag, "--queue-memory=" + attachedQueueMemory, maxDurationFlag + maxDuration.String()}
	agent.Ports, agent.Resources, agent.VolumeMounts = nil, corev1.ResourceRequirements{}, nil
	return corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon(agent)}
}

// nextName returns the first name of an attached agent that no container of pod has.
func nextName(pod *corev1.Pod) string {
	name := ContainerName
	for i := 2; isTaken(pod, name); i++ {
		name = fmt.Sprintf("%s-%d", ContainerName, i)
	}
	return name
}

func isTaken(pod *corev1.Pod, name string) bool {
	return slices.ContainsFunc(allContainers(pod), func(c corev1.Container) bool { return c.Name == name }) ||
		slices.ContainsFunc(pod.Spec.EphemeralContainers, func(c corev1.EphemeralContainer) bool { return c.Name == name })
}

// isAttached reports whether an ephemeral container is an agent: it has such a name, and
// keeps no state as Attachment has it.
func isAttached(c corev1.EphemeralContainer) bool {
	return attachedName.MatchString(c.Name) && slices.Contains(c.Args, noStateFlag)
}
