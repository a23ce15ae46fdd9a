package api

// Latency is the answer of every PathLatency route. The agent sends it only
// after it has read the kernel back and found the fault there.
type Latency struct {
	// Fault is the fault named "latency"; null when the kernel has none.
	Fault *Fault `json:"fault"`
	// Engine is "netem", "nfqueue", or "none" when neither works here.
	Engine string `json:"engine"`
	// Devices are the network interfaces the fault acts on.
	Devices []string `json:"devices"`
	// RTT is the fault's effect on what ping shows, "+20ms"; empty without one.
	RTT string `json:"rtt"`
	// ExpiresAt is when the fault ends by itself, RFC 3339; null when it stays
	// until it is cleared.
	ExpiresAt *string `json:"expiresAt"`
	// TC is the closest single tc(8) command; empty without a fault.
	TC string `json:"tc"`
	// Meaning says in one sentence what packets now experience.
	Meaning string `json:"meaning"`
	// Warnings are those of Changes.
	Warnings []string `json:"warnings"`
	// Verified is there when it was asked for.
	Verified *Verified `json:"verified,omitempty"`
}

// Values of Change.Action. A fault that does the same as before is kept, also
// when its life is another one. It is restored if the kernel had lost it, such as after
// somebody removed it there, and has it again.
const (
	ActionAdd     = "add"
	ActionChange  = "change"
	ActionKeep    = "keep"
	ActionRestore = "restore"
	ActionRemove  = "remove"
)

// Changes is the answer to a change of PathFaults. With dryRun it says what the
// change would do.
type Changes struct {
	// Applied is false for a dry run.
	Applied bool `json:"applied"`
	// Engine is "netem" or "nfqueue".
	Engine string `json:"engine"`
	// Devices are the network interfaces the faults act on.
	Devices []string `json:"devices"`
	// Changes has every fault that was there before or is there after, by name.
	Changes []Change `json:"changes"`
	// Faults is the set after the change.
	Faults []Fault `json:"faults"`
	// TC has the tc(8) commands that build that set where the engine is netem.
	TC []string `json:"tc"`
	// Warnings say which faults take packets away from those that were set, since
	// they are more precise, which owners will put back what was removed, what faults
	// can't do in this pod, and which of their peers and ports no packet has.
	Warnings []string `json:"warnings"`
	// Verified is there when it was asked for.
	Verified *Verified `json:"verified,omitempty"`
}

// Change is what happens to one fault.
type Change struct {
	Name string `json:"name"`
	// Action is "add", "change", "keep", "restore" or "remove".
	Action string `json:"action"`
	// Meaning says in one sentence what its packets then experience.
	Meaning string `json:"meaning"`
}

// Status is the answer of PathStatus.
type Status struct {
	// Engine is "netem", "nfqueue", or "none" when neither works here.
	Engine string `json:"engine"`
	// Reason says why this engine was chosen, or why none works.
	Reason string `json:"reason"`
	// Capabilities says of each engine whether this kernel can run it.
	Capabilities map[string]Capability `json:"capabilities"`
	// Devices are the network interfaces the engine acts on.
	Devices []Device `json:"devices"`
	// Faults is the desired state, each fault with what the kernel has of it.
	Faults []FaultStatus `json:"faults"`
	// Exempt lists the traffic that no fault ever touches.
	Exempt []string `json:"exempt"`
	// Warnings lists what an operator should know: a fault that the kernel lacks,
	// a full queue, a state file that was damaged, a fault that no packet can meet.
	Warnings []string `json:"warnings"`
	// Version is the agent's version.
	Version string `json:"version"`
}

// Capability is the outcome of trying an engine on a scratch link.
type Capability struct {
	Available bool `json:"available"`
	// Reason says what is missing, and how to get it where that is known; empty
	// when the engine is available.
	Reason string `json:"reason,omitempty"`
	// Lacks names each feature that this engine does not have here, with the
	// reason. The names are those of fault.Feature.
	Lacks map[string]string `json:"lacks,omitempty"`
}

// Device is one network interface of the pod.
type Device struct {
	Name string `json:"name"`
	// Index is the kernel's number of the interface in the pod's namespace; 0
	// while it is missing.
	Index int `json:"index"`
	// Missing is set while the pod has no such interface. Faults wait for it.
	Missing bool `json:"missing,omitempty"`
}

// DeviceNames returns the names of devices, never nil.
func DeviceNames(devices []Device) []string {
	names := make([]string, 0, len(devices))
	for _, device := range devices {
		names = append(names, device.Name)
	}
	return names
}

// FaultStatus is a fault together with what the kernel has of it.
type FaultStatus struct {
	Fault
	// Held is whether the kernel has all of the fault, in every direction and on
	// every device that it is for.
	Held bool `json:"held"`
	// Counters are summed over all directions and devices.
	Counters Counters `json:"counters"`
}

// Counters is what was counted of a fault since it was applied. Another impairment
// of the same kind, such as a longer delay, does not start them anew. With nfqueue,
// they start anew when the fault becomes a partition or stops to be one, and when
// something that can stop copies appears in the pod or goes.
//
// With netem they are the qdisc's statistics (struct gnet_stats_basic and struct
// gnet_stats_queue in include/uapi/linux/gen_stats.h). A large segment, which is
// cut into packets later (GSO), counts as that many packets (bstats_update in
// include/net/sch_generic.h).
//
// With nfqueue they are those of nftables and of the agent. A large segment
// counts as one packet.
type Counters struct {
	// Packets and Bytes are what left the fault's queue with netem, with the link
	// layer's headers, and what entered the fault with nfqueue, from the IP header
	// on.
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	// Dropped counts packets that were lost, by the fault or because its queue
	// was full.
	Dropped uint64 `json:"dropped"`
	// Overlimits counts packets that left before they were due, because too many
	// were in the queue. With netem it is always 0.
	Overlimits uint64 `json:"overlimits"`
	// Backlog is how many packets are in the queue now.
	Backlog uint64 `json:"backlog"`
}

// Add returns the sum of both, field by field.
func (c Counters) Add(d Counters) Counters {
	return Counters{c.Packets + d.Packets, c.Bytes + d.Bytes, c.Dropped + d.Dropped, c.Overlimits + d.Overlimits, c.Backlog + d.Backlog}
}

// Measure is the body of POST PathMeasure.
type Measure struct {
	// Targets are addresses "IP" for ICMP and "IP:PORT" for TCP, at most 16.
	Targets []string `json:"targets"`
	// Protocol is "tcp" or "icmp"; by default tcp for targets with a port and
	// icmp for those without.
	Protocol string `json:"protocol,omitempty"`
	// Count is the number of samples of each target, 1 to 100; 10 by default.
	Count int `json:"count,omitempty"`
	// Interval is the time between samples, 10ms to 1s; 100ms by default.
	Interval string `json:"interval,omitempty"`
	// Timeout is how long to wait for one answer, 10ms to 10s; 1s by default.
	Timeout string `json:"timeout,omitempty"`
}

// Measurements is the answer to Measure.
type Measurements struct {
	Results []Measurement `json:"results"`
}

// Measurement is the RTT to one target; all times in milliseconds.
type Measurement struct {
	Target   string `json:"target"`
	Protocol string `json:"protocol"`
	// Sent and Received count samples.
	Sent     int `json:"sent"`
	Received int `json:"received"`
	// Samples are the RTTs in their order, without those that got no answer.
	Samples []float64 `json:"samples"`
	// Min, Median and P99 are of the samples; null when there are none.
	Min    *float64 `json:"min"`
	Median *float64 `json:"median"`
	P99    *float64 `json:"p99"`
	// Error says why the last sample without an answer got none; empty when all
	// were answered.
	Error string `json:"error,omitempty"`
}

// Verified compares the RTT that was asked for with the RTT that was measured to
// a peer before and after a change. Times are in milliseconds.
type Verified struct {
	Before Measurement `json:"before"`
	After  Measurement `json:"after"`
	// AskedRTT is what the faults add to the RTT after the change, less what they
	// added before.
	AskedRTT float64 `json:"askedRtt"`
	// MeasuredRTT is the median after the change, less that before; null if one
	// is missing.
	MeasuredRTT *float64 `json:"measuredRtt"`
	// Verdict says in one sentence whether the two agree.
	Verdict string `json:"verdict"`
}
