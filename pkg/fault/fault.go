// Package fault is the vocabulary that the agent and its engines share: what a
// fault is, which packets it meets, what it must never touch, and what the
// kernel says it holds. It decides and never acts.
package fault

import (
	"net/netip"
	"reflect"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Latency is the name of the fault that the /latency routes set, read and
// clear.
const Latency = "latency"

// MaxFaults is how many faults a pod can have at once. A prio qdisc has
// sixteen bands, and one of them is clean.
const MaxFaults = 15

// Fault is what happens to the packets that match, until when.
type Fault struct {
	// Name identifies the fault on this pod.
	Name       string
	Match      Match
	Impairment Impairment
	// ExpiresAt is when the fault ends by itself; zero for never.
	ExpiresAt time.Time
}

// Equal reports whether two faults are the same in every respect.
func (f Fault) Equal(g Fault) bool {
	return f.ExpiresAt.Equal(g.ExpiresAt) && f.SameEffect(g)
}

// SameEffect reports whether two faults have the same name and do the same to
// the same packets, however long they last.
func (f Fault) SameEffect(g Fault) bool {
	f.ExpiresAt, g.ExpiresAt = time.Time{}, time.Time{}
	return reflect.DeepEqual(f, g)
}

// Exemption is the traffic no fault touches, beside ARP, neighbour discovery
// and loopback, which every engine leaves out by construction.
type Exemption struct {
	// ControlPort is the agent's own TCP port, exempt as source and as
	// destination.
	ControlPort uint16
	// NodeAddrs are the addresses kubelet's probes come from.
	NodeAddrs []netip.Addr
	// ProbePorts are the TCP ports kubelet probes; together with NodeAddrs, as
	// local port and remote address, they exempt probes and the answers to them
	// and nothing else. Both or neither are set.
	ProbePorts []uint16
}

// State is what an engine found in the kernel.
type State struct {
	// Found has an entry, by name, for each fault that the kernel holds in every
	// direction and on every device it is for.
	Found map[string][]Instance
	// Drift says in words how the kernel differs from the desired set.
	Drift []string
}

// Instance is what the kernel holds of one fault in one direction on one
// device.
type Instance struct {
	Direction Direction // Egress or Ingress
	Device    string
	Counters  api.Counters
}
