package api

// Latency is the answer of every PathLatency route. It is sent only after the
// kernel was read back and agrees with it.
type Latency struct {
	// Fault is the fault named "latency", null when the kernel holds none.
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
	// Verified is there when it was asked for.
	Verified *Verified `json:"verified,omitempty"`
}

// Words for Change.Action.
const (
	ActionAdd    = "add"
	ActionChange = "change"
	ActionKeep   = "keep"
	ActionRemove = "remove"
)

// Changes is the answer to a change of PathFaults, made or, with dryRun, only
// planned.
type Changes struct {
	// Applied is false for a dry run.
	Applied bool `json:"applied"`
	// Engine is "netem" or "nfqueue".
	Engine string `json:"engine"`
	// Devices are the network interfaces the faults act on.
	Devices []string `json:"devices"`
	// Changes has every fault of the sets before and after.
	Changes []Change `json:"changes"`
	// Faults is the set that then holds.
	Faults []Fault `json:"faults"`
	// TC is what one would type for that set where the engine is netem.
	TC []string `json:"tc"`
	// Verified is there when it was asked for.
	Verified *Verified `json:"verified,omitempty"`
}

// Change is what happens to one fault.
type Change struct {
	Name string `json:"name"`
	// Action is "add", "change", "keep" or "remove".
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
	// Faults is the desired state, each with what the kernel holds and counts.
	Faults []FaultStatus `json:"faults"`
	// Exempt lists the traffic that no fault ever touches.
	Exempt []string `json:"exempt"`
	// Warnings lists what somebody should know: a fault that the kernel does not
	// hold, a full queue, a state file that was damaged.
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
	// Lacks names each feature that this engine can't do here, with the reason.
	Lacks map[string]string `json:"lacks,omitempty"`
}

// Device is one network interface of the pod.
type Device struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
}

// FaultStatus is a fault together with what the kernel has of it.
type FaultStatus struct {
	Fault
	// Held is whether the kernel holds it, all of it.
	Held bool `json:"held"`
	// Counters is over all directions and devices.
	Counters Counters `json:"counters"`
}

// Counters is what was counted since the fault was put in place: of packets
// after segmentation offload, so that one of up to 64 KiB counts as one.
type Counters struct {
	// Packets and Bytes went through the fault.
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	// Dropped packets are lost: by the fault itself, or by a full queue.
	Dropped uint64 `json:"dropped"`
	// Overlimits counts packets that found the queue at its limit.
	Overlimits uint64 `json:"overlimits"`
	// Backlog is how many packets wait in the queue now.
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
	// Count is how many samples to take of each target, 1 to 100; 10 by default.
	Count int `json:"count,omitempty"`
	// Interval is the time between samples, 10ms to 1s; 100ms by default.
	Interval string `json:"interval,omitempty"`
	// Timeout is how long one sample may take, 10ms to 10s; 1s by default.
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
	// Samples in the order they were taken, without those that got no answer.
	Samples []float64 `json:"samples"`
	// Min, Median and P99 of the samples; null when there are none.
	Min    *float64 `json:"min"`
	Median *float64 `json:"median"`
	P99    *float64 `json:"p99"`
	// Error says why there is no answer, of the last sample that got none.
	Error string `json:"error,omitempty"`
}

// Verified compares what was asked for with what a peer sees, before and after
// a set. Times in milliseconds.
type Verified struct {
	Before Measurement `json:"before"`
	After  Measurement `json:"after"`
	// AskedRTT is what the faults that meet packets to the peer add to its RTT,
	// less those that met them before; MeasuredRTT is the difference of the
	// medians, null if one is missing.
	AskedRTT    float64  `json:"askedRtt"`
	MeasuredRTT *float64 `json:"measuredRtt"`
	// Verdict says in one sentence whether the two agree.
	Verdict string `json:"verdict"`
}
