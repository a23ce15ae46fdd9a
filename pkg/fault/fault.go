// Package fault says what a fault is, which packets it meets, which packets no
// fault may touch, and what an engine found in the kernel. It reads faults from
// the API's types and writes them back. It decides and never acts: no clock, no
// files, no network.
package fault

import (
	"net/netip"
	"reflect"
	"time"
)

// Latency is the name of the fault that the /latency routes set, read and
// clear.
const Latency = "latency"

// MaxFaults is how many faults a pod can have at once. The kernel's prio qdisc
// has 16 bands (TCQ_PRIO_BANDS in include/uapi/linux/pkt_sched.h), and one is
// for packets that meet no fault.
const MaxFaults = 15

// Fault is what happens to the packets that match, until when.
type Fault struct {
	// Name identifies the fault on this pod, among those of all owners.
	Name string
	// Owner is the program that sets the fault, and will set it again; empty for a
	// fault that a person set.
	Owner      string
	Match      Match
	Impairment Impairment
	// ExpiresAt is when the fault ends by itself; the zero time for never.
	ExpiresAt time.Time
	// Deadline is its end on the clock that nobody can set, see Moment.Boot; 0 if
	// it has none or if that is not known.
	Deadline time.Duration
}

// SameEffect reports whether two faults have the same name and do the same to
// the same packets, however long they last and whoever set them.
func (f Fault) SameEffect(g Fault) bool {
	f.Owner, g.Owner = "", ""
	f.ExpiresAt, f.Deadline = time.Time{}, 0
	g.ExpiresAt, g.Deadline = time.Time{}, 0
	return reflect.DeepEqual(f, g)
}

// Exemption is the traffic that no fault touches. ARP, IPv6 neighbour discovery
// and loopback are not in it, because every engine leaves them out anyway.
type Exemption struct {
	// ControlPort is the agent's own TCP port; it is exempt as source and as
	// destination.
	ControlPort uint16
	// NodeAddrs are the addresses kubelet's probes come from.
	NodeAddrs []netip.Addr
	// ProbePorts are the TCP ports that kubelet probes. Exempt are packets between
	// one of them in the pod and one of NodeAddrs. Either both are set or
	// neither.
	ProbePorts []uint16
}
