package forward

import (
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// portName is the name of the container port that serves the webhook. The Service
// has it as its targetPort.
const portName = "webhook"

// replica is a pod of the injector.
type replica struct {
	name string
	// address is the host and port of its webhook, or "" if it has none yet.
	address string
	// revision is that of its ReplicaSet, by which the Deployment counts its
	// templates. The current template has the highest one, after a rollback too. It is
	// 0 if it is not known.
	revision int64
	// ready reports whether the pod is ready and not being deleted.
	ready bool
}

// newReplica returns the replica that pod is.
func newReplica(pod *corev1.Pod, revision int64) replica {
	r := replica{name: pod.Name, address: webhookAddress(pod), revision: revision}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			r.ready = pod.DeletionTimestamp == nil
		}
	}
	return r
}

// webhookAddress returns where pod serves the webhook. It returns "" if the pod has no
// address or no port of that name.
func webhookAddress(pod *corev1.Pod) string {
	if pod.Status.PodIP == "" {
		return ""
	}
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == portName {
				return net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(p.ContainerPort)))
			}
		}
	}
	return ""
}

// successor returns the ready replica of the highest revision, if that is higher than
// the one of the replica called self. ok is false if there is none, and self answers.
// A replica that is not among all of them has been deleted: every other is newer.
func successor(self string, all []replica) (next replica, ok bool) {
	for _, r := range all {
		if r.name == self {
			next.revision = r.revision
		}
	}
	for _, r := range all {
		if r.ready && r.address != "" && r.revision > next.revision {
			next, ok = r, true
		}
	}
	return next, ok
}
