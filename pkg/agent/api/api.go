// Package api is what the agent and everything that talks to it agree on: the
// control port, the routes, and the JSON that crosses them. It uses the
// standard library only, so that the injector, the CLI and the tests can
// import it without linking the agent.
package api

// Port is the TCP port of the agent's HTTP API in every injected pod, and the
// one port whose packets no fault ever touches.
const Port = 2332

// Routes of the agent. A route that takes a value has it appended after a
// slash: PathLatency + "/20ms".
const (
	PathLatency = "/latency"
	PathStatus  = "/v1/status"
	PathHealthz = "/healthz"
	PathReadyz  = "/readyz"
	PathMetrics = "/metrics"
)

// ContentTypeProblem is the media type of every error body (RFC 9457).
const ContentTypeProblem = "application/problem+json"

// Fault is one fault as the wire shows it.
type Fault struct {
	// Name identifies the fault on this pod.
	Name string `json:"name"`
	// Direction is the pod's view of the packets it meets: "egress" are those
	// that leave the pod.
	Direction string `json:"direction"`
	// Delay is added to every matching packet, one way, in the notation that the
	// latency route takes: "500us", "1.5ms", "90s".
	Delay string `json:"delay"`
}

// Latency is the answer of every /latency route. It is sent only after the
// kernel was read back and agrees with it.
type Latency struct {
	// Fault is what the kernel holds, null when there is none.
	Fault *Fault `json:"fault"`
	// Engine is "netem" or "nfqueue".
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
	// Faults is what the kernel holds now.
	Faults []FaultStatus `json:"faults"`
	// Exempt lists the traffic that no fault ever touches.
	Exempt []string `json:"exempt"`
	// Version is the agent's version.
	Version string `json:"version"`
}

// Capability is the outcome of trying an engine on a scratch link.
type Capability struct {
	Available bool `json:"available"`
	// Reason says what is missing, and how to get it where that is known; empty
	// when the engine is available.
	Reason string `json:"reason,omitempty"`
}

// Device is one network interface of the pod.
type Device struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
}

// FaultStatus is a fault together with what the kernel counted on it.
type FaultStatus struct {
	Fault
	Counters Counters `json:"counters"`
}

// Counters is what the kernel counted since the fault was put in place.
type Counters struct {
	// Packets and Bytes went through the fault.
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	// Dropped packets are lost; with a pure delay that means a full queue.
	Dropped uint64 `json:"dropped"`
	// Overlimits counts packets that found the queue at its limit.
	Overlimits uint64 `json:"overlimits"`
	// Backlog is how many packets wait in the queue now.
	Backlog uint64 `json:"backlog"`
}

// Problem is an error body, RFC 9457.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}
