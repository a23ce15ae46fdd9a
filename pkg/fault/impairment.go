package fault

import "time"

// Protocols of a match.
const (
	ProtocolTCP  = "tcp"
	ProtocolUDP  = "udp"
	ProtocolICMP = "icmp"
)

// Distribution is that of the jitter around the delay.
type Distribution string

// Distributions. Uniform is within delay±jitter; the others have the jitter as
// their standard deviation, and their tails are cut at four of them.
const (
	Uniform      Distribution = "uniform"
	Normal       Distribution = "normal"
	Pareto       Distribution = "pareto"
	ParetoNormal Distribution = "paretonormal"
)

// Impairment is what happens to a packet. Parts that are zero or nil are not
// asked for.
type Impairment struct {
	// Delay is one way; between MinDelay and MaxDelay. Jitter is at most Delay.
	Delay, Jitter time.Duration
	// Correlation is that of the jitter.
	Correlation Percent
	// Distribution is "" without jitter, and never with it.
	Distribution Distribution
	// At most one of Loss, GilbertElliott and FourState is there.
	Loss           *Chance
	GilbertElliott *GilbertElliott
	FourState      *FourState
	Duplicate      *Chance
	Corrupt        *Chance
	// Reorder is only there with a Delay.
	Reorder *Reorder
	Rate    *Rate
	// Partition drops everything, and excludes all of the above.
	Partition bool
	// Seed is only there with something random.
	Seed *uint64
}

// Chance is how many packets something happens to.
type Chance struct{ Percent, Correlation Percent }

// GilbertElliott is a two-state loss model (Elliott 1963). A link changes from
// good to bad with probability ToBad at each packet, back with ToGood, and
// loses a packet with LossInBad or LossInGood.
type GilbertElliott struct{ ToBad, ToGood, LossInBad, LossInGood Percent }

// FourState is the loss model of Salsano, Ludovici and Ordine (2009): state 1
// receives, 3 loses in a burst, 2 receives within a burst, 4 loses one packet
// and returns to 1.
type FourState struct{ P13, P31, P32, P23, P14 Percent }

// Reorder lets Percent of every Gap-th packet go without the delay.
type Reorder struct {
	Percent, Correlation Percent
	Gap                  uint32 // at least 1
}

// Rate is a link's capacity.
type Rate struct {
	// BitsPerSecond is between MinRate and MaxRate, and a multiple of 8.
	BitsPerSecond uint64
	// PacketOverhead is added to the size of each packet, in bytes.
	PacketOverhead int32
	// CellSize in bytes makes packets go in whole cells; 0 for none.
	// CellOverhead is added to each cell.
	CellSize     uint32
	CellOverhead int32
}

// Loses reports whether the fault drops packets because it was asked to.
func (i Impairment) Loses() bool {
	return i.Partition || i.Loss != nil || i.GilbertElliott != nil || i.FourState != nil
}

// Random reports whether anything depends on chance.
func (i Impairment) Random() bool {
	return i.Jitter > 0 || i.Loss != nil || i.GilbertElliott != nil || i.FourState != nil ||
		i.Duplicate != nil || i.Corrupt != nil || i.Reorder != nil
}

// IsZero reports whether nothing at all is asked for.
func (i Impairment) IsZero() bool {
	return i.Delay == 0 && i.Rate == nil && !i.Partition && !i.Random()
}
