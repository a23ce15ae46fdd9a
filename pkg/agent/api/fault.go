package api

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Fault is one fault: which packets it meets, what happens to them, and until
// when. What is left out does not happen. A fault without peers, ports and
// protocol meets every packet of its direction.
type Fault struct {
	// Name identifies the fault on this pod: at most 63 of a-z, 0-9, "-" and
	// ".", a letter or digit at both ends.
	Name string `json:"name"`
	// Owner is the program that sets the fault, and will set it again; in the form
	// of a name. Empty for a fault that a person set.
	Owner string `json:"owner,omitempty"`

	// Direction is the pod's view: "egress" (the default) for packets that leave
	// the pod, "ingress" for those that arrive, "both" for all. With "both" the
	// RTT grows by twice the delay.
	Direction string `json:"direction,omitempty"`
	// Device narrows the fault to one of the agent's interfaces.
	Device string `json:"device,omitempty"`
	// Peers are the remote addresses and CIDRs, IPv4 and IPv6; at most 512. Nil is
	// for all. A list that is empty and not nil is refused, because whoever looked
	// for peers and found none does not mean all.
	Peers []string `json:"peers,omitzero"`
	// Ports are the TCP or UDP ports on either side.
	Ports *Ports `json:"ports,omitempty"`
	// Protocol is "tcp", "udp" or "icmp" (which means ICMPv6 too).
	Protocol string `json:"protocol,omitempty"`

	// Delay is added to every packet, one way: "500us", "1.5ms", "90s"; from 1us
	// to 600s. A bare number is in milliseconds. `tc ... netem delay DELAY`.
	Delay string `json:"delay,omitempty"`
	// Jitter spreads the delay: at most the delay, and at most 2s. Packets
	// overtake each other when the jitter is longer than the time between them.
	// `tc ... netem delay DELAY JITTER`.
	Jitter string `json:"jitter,omitempty"`
	// Correlation is how much a packet's jitter depends on that of the packet
	// before, in percent, 0 to 100.
	Correlation float64 `json:"correlation,omitempty"`
	// Distribution of the jitter: "uniform" (the default) within delay±jitter;
	// "normal", "pareto" or "paretonormal" with the jitter as standard deviation.
	// `tc ... netem delay DELAY JITTER distribution DISTRIBUTION`.
	Distribution string `json:"distribution,omitempty"`
	// Loss drops packets.
	Loss *Loss `json:"loss,omitempty"`
	// Duplicate sends packets twice.
	Duplicate *Chance `json:"duplicate,omitempty"`
	// Corrupt flips one bit of packets.
	Corrupt *Chance `json:"corrupt,omitempty"`
	// Reorder sends some packets without the delay, ahead of others.
	Reorder *Reorder `json:"reorder,omitempty"`
	// Rate limits the capacity of the link that the packets share.
	Rate *Rate `json:"rate,omitempty"`
	// Partition drops every packet.
	Partition bool `json:"partition,omitempty"`
	// Seed makes the sequence of random choices repeatable; at most 2^53-1.
	Seed *uint64 `json:"seed,omitempty"`

	// Duration is how long the fault lasts, from when it is set: "90s", "10m",
	// "1h30m"; from 1s to 720h. Answers have ExpiresAt instead.
	Duration string `json:"duration,omitempty"`
	// ExpiresAt is when the fault ends by itself, RFC 3339; empty when it stays
	// until it is removed.
	ExpiresAt string `json:"expiresAt,omitempty"`
}

// Ports are the ports of a packet's two sides, at most 16 ports and ranges on
// each. A packet must match one of each side that is given. A list that is empty
// and not nil is refused.
type Ports struct {
	// Local is the pod's side.
	Local []PortRange `json:"local,omitzero"`
	// Remote is the peer's side.
	Remote []PortRange `json:"remote,omitzero"`
}

// PortRange is a port, on the wire a number, or a range, on the wire a string
// "FIRST-LAST".
type PortRange struct{ First, Last uint16 }

// String returns the port or the range.
func (p PortRange) String() string {
	if p.First == p.Last {
		return strconv.Itoa(int(p.First))
	}
	return fmt.Sprintf("%d-%d", p.First, p.Last)
}

// MarshalJSON implements json.Marshaler.
func (p PortRange) MarshalJSON() ([]byte, error) {
	if p.First == p.Last {
		return json.Marshal(p.First)
	}
	return json.Marshal(p.String())
}

// UnmarshalJSON implements json.Unmarshaler, for clients. The error says what is
// accepted.
func (p *PortRange) UnmarshalJSON(b []byte) error {
	text := string(b)
	if unquoted, err := strconv.Unquote(text); err == nil {
		text = unquoted
	}
	r, err := ParsePortRange(text)
	if err != nil {
		return err
	}
	*p = r
	return nil
}

// Loss drops packets, by exactly one of Percent, GilbertElliott and FourState.
type Loss struct {
	// Percent of packets that are lost, above 0, at most 100, four decimals.
	// `tc ... netem loss random PERCENT`.
	Percent float64 `json:"percent,omitempty"`
	// Correlation is how much a packet's chance depends on that of the packet
	// before, in percent. The kernel's generator makes correlated losses rarer
	// than Percent says (get_crandom in net/sched/sch_netem.c). For losses in
	// bursts use one of the models.
	Correlation float64 `json:"correlation,omitempty"`
	// GilbertElliott loses packets in bursts.
	GilbertElliott *GilbertElliott `json:"gilbertElliott,omitempty"`
	// FourState loses packets in bursts and one by one.
	FourState *FourState `json:"fourState,omitempty"`
}

// GilbertElliott is a link that is in a good or a bad state; all in percent, 0 to
// 100. `tc ... netem loss gemodel TOBAD TOGOOD LOSSINBAD LOSSINGOOD`.
type GilbertElliott struct {
	// ToBad and ToGood are the chances to change the state, at every packet: p
	// and r of the model.
	ToBad  float64 `json:"toBad"`
	ToGood float64 `json:"toGood"`
	// LossInBad and LossInGood are the chances to lose a packet: 1-h and 1-k.
	LossInBad  float64 `json:"lossInBad"`
	LossInGood float64 `json:"lossInGood,omitempty"`
}

// FourState is a Markov chain of four states: 1 good, 2 good within a burst, 3
// lost within a burst, 4 a single loss. Pxy is the chance to go from state x to
// state y, in percent, 0 to 100. `tc ... netem loss state P13 P31 P32 P23 P14`.
type FourState struct {
	P13 float64 `json:"p13"`
	P31 float64 `json:"p31"`
	P32 float64 `json:"p32,omitempty"`
	P23 float64 `json:"p23,omitempty"`
	P14 float64 `json:"p14,omitempty"`
}

// Chance is what happens to some packets; in percent, 0 to 100, four decimals.
type Chance struct {
	// Percent of packets that it happens to; above 0.
	Percent float64 `json:"percent"`
	// Correlation is how much a packet's chance depends on that of the packet
	// before.
	Correlation float64 `json:"correlation,omitempty"`
}

// Reorder sends some packets without the delay.
// `tc ... netem delay DELAY reorder PERCENT CORRELATION gap GAP`.
type Reorder struct {
	// Percent of the packets that Gap chooses; those are sent at once.
	Percent float64 `json:"percent"`
	// Correlation of these choices, in percent.
	Correlation float64 `json:"correlation,omitempty"`
	// Gap chooses every Gap-th packet, 1 to 1000000; 1, the default, is every
	// packet.
	Gap uint32 `json:"gap,omitempty"`
}

// Rate is a link's capacity.
// `tc ... netem rate PERSECOND PACKETOVERHEAD CELLSIZE CELLOVERHEAD`.
type Rate struct {
	// PerSecond has the unit bit, kbit, mbit or gbit, all decimal: "800kbit",
	// "10mbit", "1.5gbit"; from 8kbit to 100gbit.
	PerSecond string `json:"perSecond"`
	// PacketOverhead is added to each packet's size, in bytes, -10000 to 10000.
	PacketOverhead int32 `json:"packetOverhead,omitempty"`
	// CellSize is for links that send a packet in cells of so many bytes (ATM: 53)
	// and pad the last one; 0 to 10000, 0 for none.
	CellSize uint32 `json:"cellSize,omitempty"`
	// CellOverhead is added to each cell's size, in bytes, -10000 to 10000.
	CellOverhead int32 `json:"cellOverhead,omitempty"`
}

// FaultSet is the whole desired state of a pod: the body of PUT PathFaults and
// the answer of GET.
type FaultSet struct {
	// Faults in order of their names.
	Faults []Fault `json:"faults"`
}

// PortAccepted says what ParsePortRange accepts.
const PortAccepted = `want a port from 1 to 65535 or a range "FIRST-LAST"`

// ParsePortRange reads "PORT" or "FIRST-LAST", from 1 to 65535. The error says
// what is accepted.
func ParsePortRange(s string) (PortRange, error) {
	first, last, isRange := strings.Cut(s, "-")
	a, err := strconv.ParseUint(first, 10, 16)
	if err != nil || a == 0 {
		return PortRange{}, fmt.Errorf("port %.32q: %s", s, PortAccepted)
	}
	if !isRange {
		return PortRange{uint16(a), uint16(a)}, nil
	}
	b, err := strconv.ParseUint(last, 10, 16)
	if err != nil || b < a {
		return PortRange{}, fmt.Errorf("port %.32q: %s", s, PortAccepted)
	}
	return PortRange{uint16(a), uint16(b)}, nil
}
