package injection

import (
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// podProbePorts returns the ports that kubelet connects to when it probes pod, in
// the form of the agent's --probe-ports: ascending, comma-separated, each once.
// It returns "" if there are none.
func podProbePorts(pod *corev1.Pod) string {
	var ports []int32
	// Of the init containers only restartable ones may have probes.
	for _, c := range allContainers(pod) {
		ports = append(ports, probePorts(c)...)
	}
	slices.Sort(ports)
	var list []string
	for _, port := range slices.Compact(ports) {
		list = append(list, strconv.Itoa(int(port)))
	}
	return strings.Join(list, ",")
}

// probePorts returns the ports, from 1 to 65535, of those probes of c that kubelet
// sends to the pod. An exec probe uses no port, and a probe that names a host goes
// to that host.
func probePorts(c corev1.Container) []int32 {
	var ports []int32
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		var port int32
		switch {
		case p == nil:
		case p.HTTPGet != nil && p.HTTPGet.Host == "":
			port = resolvePort(c, p.HTTPGet.Port)
		case p.TCPSocket != nil && p.TCPSocket.Host == "":
			port = resolvePort(c, p.TCPSocket.Port)
		case p.GRPC != nil:
			port = p.GRPC.Port
		}
		if port > 0 && port <= 65535 {
			ports = append(ports, port)
		}
	}
	return ports
}

// resolvePort finds a port in the same way as kubelet (pkg/probe/util.go): by
// number, by the name of one of the container's ports, or by a number in a string.
// It returns 0 if there is no such port; kubelet's probe fails then.
func resolvePort(c corev1.Container, port intstr.IntOrString) int32 {
	if port.Type == intstr.Int {
		return port.IntVal
	}
	for _, named := range c.Ports {
		if named.Name == port.StrVal {
			return named.ContainerPort
		}
	}
	number, err := strconv.ParseInt(port.StrVal, 10, 32)
	if err != nil {
		return 0
	}
	return int32(number)
}
