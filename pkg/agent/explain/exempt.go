package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Exemptions lists the traffic that no fault touches.
func Exemptions(e fault.Exemption) []string {
	all := []string{
		"loopback",
		"ARP and IPv6 neighbour discovery",
		fmt.Sprintf("TCP port %d, the agent's own, local or remote", e.ControlPort),
	}
	if len(e.NodeAddrs) == 0 || len(e.ProbePorts) == 0 {
		return append(all, "kubelet's probes: none are known (no --node-ip or no --probe-ports)")
	}
	addrs := make([]string, 0, len(e.NodeAddrs))
	for _, addr := range e.NodeAddrs {
		addrs = append(addrs, addr.String())
	}
	ports := strings.Trim(strings.ReplaceAll(fmt.Sprint(e.ProbePorts), " ", ", "), "[]")
	return append(all, fmt.Sprintf("kubelet's probes: TCP between local port %s and the node at %s", ports, strings.Join(slices.Compact(addrs), ", ")))
}
