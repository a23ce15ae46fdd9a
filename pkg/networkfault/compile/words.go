package compile

import "strings"

// Of names the NetworkFaults that a fault of a pod comes from, for people, who did not
// choose its own name: "NetworkFault a", or "NetworkFaults a and b together".
func (f Fault) Of() string {
	last := len(f.Objects) - 1
	if last <= 0 {
		return "NetworkFault " + strings.Join(f.Objects, "")
	}
	return "NetworkFaults " + strings.Join(f.Objects[:last], ", ") + " and " + f.Objects[last] + " together"
}
