package fault

import "time"

// Values of Match.Protocol.
const (
	ProtocolTCP  = "tcp"
	ProtocolUDP  = "udp"
	ProtocolICMP = "icmp"
)

// Distribution is how the jitter spreads around the delay.
type Distribution string

// The distributions. Uniform is within delay±jitter. The others have the jitter
// as standard deviation, and values beyond four of them are cut. Package
// distribution has their tables.
const (
	Uniform      Distribution = "uniform"
	Normal       Distribution = "normal"
	Pareto       Distribution = "pareto"
	ParetoNormal Distribution = "paretonormal"
)

// Impairment is what happens to a packet. A part that is zero or nil does not
// happen.
type Impairment struct {
	// Delay is one way: 0, or from MinDelay to MaxDelay. Jitter is at most Delay
	// and at most MaxJitter.
	Delay, Jitter time.Duration
	// Correlation is how much a packet's jitter depends on that of the packet
	// before. It is 0 without a jitter.
	Correlation Percent
	// Distribution of the jitter. It is empty if and only if Jitter is 0.
	Distribution Distribution
	// At most one of Loss, GilbertElliott and FourState is not nil.
	Loss           *Chance
	GilbertElliott *GilbertElliott
	FourState      *FourState
	Duplicate      *Chance
	Corrupt        *Chance
	// Reorder is nil without a Delay.
	Reorder *Reorder
	Rate    *Rate
	// Partition drops every packet. Then all other parts are zero or nil.
	Partition bool
	// Seed makes random choices repeatable, at most 2^53-1. It is nil unless
	// something is random.
	Seed *uint64
}

// Chance is the share of packets that something happens to. Percent is above 0.
// Correlation is how much a packet's chance depends on that of the packet before.
type Chance struct{ Percent, Correlation Percent }

// GilbertElliott is a loss model of two states, good and bad (Gilbert 1960, Elliott
// 1963). At each packet the state changes from good to bad with the probability
// ToBad and back with ToGood. A packet is lost with LossInBad or LossInGood.
type GilbertElliott struct{ ToBad, ToGood, LossInBad, LossInGood Percent }

// FourState is the loss model of Salsano, Ludovici and Ordine (2009): 1 good, 2
// good within a burst, 3 lost within a burst, 4 a single loss, after which comes
// 1. Pxy is the probability to go from state x to state y. P13+P14 and P31+P32
// are each at most 100 percent.
type FourState struct{ P13, P31, P32, P23, P14 Percent }

// Reorder sends Percent of every Gap-th packet without the delay.
type Reorder struct {
	Percent, Correlation Percent
	Gap                  uint32 // 1 to 1,000,000
}

// Rate is a link's capacity.
type Rate struct {
	// BitsPerSecond is from MinRate to MaxRate, and a multiple of 8.
	BitsPerSecond uint64
	// PacketOverhead is added to the size of each packet, in bytes, -10,000 to
	// 10,000.
	PacketOverhead int32
	// CellSize is for links that send whole cells of so many bytes, up to 10,000; 0
	// for others. CellOverhead is added to each cell, in bytes, -10,000 to 10,000.
	CellSize     uint32
	CellOverhead int32
}

// Loses reports whether packets are dropped on purpose. What a full queue drops
// does not count.
func (i Impairment) Loses() bool {
	return i.Partition || i.Loss != nil || i.GilbertElliott != nil || i.FourState != nil
}

// IsCut reports whether nothing gets through: a partition, or a loss of all packets.
func (i Impairment) IsCut() bool { return i.Partition || i.AverageLoss() >= Hundred }

// Random reports whether anything depends on chance.
func (i Impairment) Random() bool {
	return i.Jitter > 0 || i.Loss != nil || i.GilbertElliott != nil || i.FourState != nil ||
		i.Duplicate != nil || i.Corrupt != nil || i.Reorder != nil
}

// IsZero reports whether nothing at all is asked for.
func (i Impairment) IsZero() bool {
	return i.Delay == 0 && i.Rate == nil && !i.Partition && !i.Random()
}
