//go:build kernel

package kernel

import "github.com/tidelay/tidelay/e2e/netlab"

// A lab has a node that pings, probes and curls; the agent runs in pod;
// bystander must never notice.
type lab struct {
	*netlab.Lab
	node, pod, bystander *netlab.Host
}

// makeLab takes time under User Mode Linux, so all tests share one lab, and each
// leaves it as it was (startAgent sees to that).
func makeLab() (*lab, error) {
	l, err := netlab.Make(netlab.Spec{Name: "pod"}, netlab.Spec{Name: "bystander", More: 12})
	if err != nil {
		return nil, err
	}
	return &lab{Lab: l, node: l.Node, pod: l.Pod("pod"), bystander: l.Pod("bystander")}, nil
}
