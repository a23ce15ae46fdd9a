// Package fault is the vocabulary that the agent and its engines share: what a
// fault is, what it must never touch, and what the kernel says it holds.
package fault

import (
	"errors"
	"net/netip"
	"time"
)

// Fault is one impairment of the packets that leave the pod.
type Fault struct {
	// Name identifies the fault on this pod.
	Name string
	// Delay is added to every packet, one way; between MinDelay and MaxDelay.
	Delay time.Duration
}

// Latency is the name of the fault that the /latency routes set, read and
// clear: egress delay on all traffic of the pod.
const Latency = "latency"

// Exemption is the traffic no fault touches, beside ARP, neighbour discovery
// and loopback, which every engine leaves out by construction.
type Exemption struct {
	// ControlPort is the agent's own TCP port, exempt as source and as
	// destination.
	ControlPort uint16
	// NodeAddrs are the addresses kubelet's probes come from.
	NodeAddrs []netip.Addr
	// ProbePorts are the TCP ports kubelet probes; together with NodeAddrs, as
	// local port and remote address, they exempt the answers to probes and
	// nothing else. Both or neither are set.
	ProbePorts []uint16
}

// State is what an engine read from the kernel.
type State struct {
	// Fault is nil when the kernel holds none of ours.
	Fault *Fault
	// Counters are zero without a fault.
	Counters Counters
}

// Counters is what the kernel counted since the fault was put in place.
type Counters struct {
	Packets, Bytes, Dropped, Overlimits, Backlog uint64
}

var (
	// ErrForeign reports kernel state on the pod's interface that somebody else
	// made and that a fault would destroy. It is never touched.
	ErrForeign = errors.New("made by somebody else")
	// ErrUnsupported reports that this kernel or container lacks what an engine
	// needs.
	ErrUnsupported = errors.New("not supported here")
)
