package agent

import (
	"fmt"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/fault"
)

// directionEgress is the pod's view: packets that leave it.
const directionEgress = "egress"

func wireFault(f fault.Fault) api.Fault {
	return api.Fault{Name: f.Name, Direction: directionEgress, Delay: fault.FormatDelay(f.Delay)}
}

// latency is the answer of the /latency routes to what the kernel holds.
func (s *server) latency(state fault.State) api.Latency {
	answer := api.Latency{Engine: s.choice.name, Devices: []string{}}
	if s.device.Name != "" {
		answer.Devices = append(answer.Devices, s.device.Name)
	}
	if state.Fault == nil {
		answer.Meaning = "no fault of Tidelay's: packets leave the pod as if it were not there"
		if s.choice.name == engineNone {
			answer.Meaning = "no fault can be set: " + s.choice.reason
		}
		return answer
	}
	f := wireFault(*state.Fault)
	answer.Fault = &f
	answer.RTT = "+" + f.Delay
	answer.TC = fmt.Sprintf("tc qdisc replace dev %s root netem delay %s", s.device.Name, f.Delay)
	answer.Meaning = fmt.Sprintf("every packet leaves %[1]s %[2]s late, one way: ping and one TCP connect take %[2]s longer, "+
		"from whichever side they start, and a request on a new connection takes twice that", s.device.Name, f.Delay)
	return answer
}

// exemptions lists what no fault touches, in words.
func exemptions(e fault.Exemption) []string {
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
	return append(all, fmt.Sprintf("kubelet's probes: TCP from local port %s to the node at %s", ports, strings.Join(addrs, ", ")))
}
