package compile

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Object is a fault of a TidbCluster that is in force, with the pods it selects; or the
// topology that is in force, of which there is one at most.
type Object struct {
	// Name is unique among the objects; see TopologyKey.
	Name string
	// Created is how old it is. Of two objects that can't be combined, the older one
	// goes on.
	Created time.Time
	// From and To are names of pods. Those that are not among the pods of the cluster
	// are left out.
	From, To []string
	// CIDRs are ranges of addresses on the To side, masked.
	CIDRs []netip.Prefix
	// OneWay is for packets from From to To only, and not for those back.
	OneWay bool
	// RoundTrip says that the Delay and the Jitter of the impairment are of the round
	// trip. They are halved, the odd microsecond goes to packets whose sender is first
	// by name. OneWay is false then.
	RoundTrip bool
	// Impairment is what happens to each packet.
	Impairment fault.Impairment
	// Ports are those on which the To side listens; nil for all. Protocol is as in
	// fault.Match. Ports without a protocol are those of TCP and of UDP.
	Ports    []api.PortRange
	Protocol string
	// Topology is what is between zones; nil for a fault. With it, all else but Name and
	// Created is zero.
	Topology *Topology
}

// MaxObjects is how many objects there can be at once.
const MaxObjects = 64

// Pod is a pod of the cluster.
type Pod struct {
	Name string
	// Addrs are its addresses, of either family. A pod without one takes no part.
	Addrs []netip.Addr
	// Agent is whether it has an agent that can set faults.
	Agent bool
}

// Refusal is an object that is not in force, and why.
type Refusal struct {
	Object string
	// With is the object that it can't be combined with; empty if the fault is its own.
	With string
	// Problem is what can't be done, without the names.
	Problem string
}

// byAge orders objects, the oldest first.
func byAge(objects []Object) []Object {
	sorted := slices.Clone(objects)
	slices.SortFunc(sorted, func(a, b Object) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name)) })
	return sorted
}

// half returns what a packet gets of a time that is added to a round trip.
func half(whole time.Duration, isFirst bool) time.Duration {
	if isFirst {
		whole += time.Microsecond
	}
	return (whole / 2).Truncate(time.Microsecond)
}

// halved returns what a packet meets of what is added to a round trip. isFirst is whether
// its sender is first by name.
func halved(i fault.Impairment, isFirst bool) fault.Impairment {
	i.Delay, i.Jitter = half(i.Delay, isFirst), half(i.Jitter, isFirst)
	return i
}

// IsOdd reports whether the two halves of what is added to a round trip differ.
func IsOdd(i fault.Impairment) bool {
	return i.Delay/time.Microsecond%2 == 1 || i.Jitter/time.Microsecond%2 == 1
}

// isForAll reports whether all packets between the pods are meant.
func (o *Object) isForAll() bool { return len(o.Ports) == 0 && o.Protocol == "" }
