package agent

import (
	"net/netip"
	"slices"

	"github.com/tidelay/tidelay/pkg/fault"
)

// exemption returns the traffic that no fault touches. Kubelet's probes are part
// of it if the options say where they come from and go to.
//
// They come from the node's own addresses or from the pod's gateways: with a
// bridge CNI the gateway is the node's address on the bridge, and the node
// connects to its pods from there.
func exemption(p parsed, gateways []netip.Addr) fault.Exemption {
	if len(p.nodeAddrs) == 0 || len(p.probePorts) == 0 {
		return fault.Exemption{ControlPort: p.controlPort}
	}
	addrs := slices.Clone(p.nodeAddrs)
	for _, gateway := range gateways {
		if !slices.Contains(addrs, gateway) {
			addrs = append(addrs, gateway)
		}
	}
	return fault.Exemption{ControlPort: p.controlPort, NodeAddrs: addrs, ProbePorts: p.probePorts}
}
