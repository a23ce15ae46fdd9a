package fault

import "github.com/tidelay/tidelay/pkg/agent/api"

// State is what an engine found in the kernel.
type State struct {
	// Found has an entry, by name, for each fault that the kernel has in every
	// direction and on every device that the fault is for.
	Found map[string][]Instance
	// Missing are the devices of the scope that are not there, and Waiting the
	// faults that are for no other device.
	Missing, Waiting []string
	// Drift says in words how the kernel differs from the desired set.
	Drift []string
}

// Instance is what the kernel has of one fault in one direction on one device.
type Instance struct {
	// Direction is Egress or Ingress, never Both.
	Direction Direction
	// Device is the interface's name.
	Device string
	// Counters is what the kernel or the engine counted there.
	Counters api.Counters
}

// Total is what was counted of a fault, over all its instances.
func Total(instances []Instance) api.Counters {
	var sum api.Counters
	for _, instance := range instances {
		sum = sum.Add(instance.Counters)
	}
	return sum
}
