package measured

import (
	"time"

	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

// Pair is what one pod measures to another.
type Pair struct {
	verify.Result
	// why says why it was not measured; "" if it was, or still can be.
	why string
	// looks counts the measurements, and last is what the last of them says.
	looks int
	last  verify.Judgement
	// isBlind is whether it is not known what is asked for.
	isBlind bool
	// byHand says that a fault is set by hand at one of the two; "" if none is.
	byHand string
}

func newPair(from, to *verify.Pod, isAskedKnown bool) *Pair {
	p := &Pair{isBlind: !isAskedKnown}
	p.Check, p.why = verify.Between(from, to)
	if from.Agent == verify.NoAgent {
		p.why = from.Name + " has no agent"
	}
	return p
}

// maxLooks is how often a pair is measured at most. One measurement makes nothing wrong.
const maxLooks = 3

// IsOpen reports whether a pair is to be measured, again or for the first time.
func (p *Pair) IsOpen() bool { return p.why == "" && p.State.IsOpen() && p.looks < maxLooks }

// Note notes a measurement.
func (p *Pair) Note(j verify.Judgement) {
	p.looks++
	p.last = j
	p.State.Note(j)
}

// Fail notes why a pair that is open can't be measured. What was measured before stays,
// without a verdict.
func (p *Pair) Fail(why string) {
	if p.IsOpen() {
		p.why = why
	}
}

// Verdict is whether a pair is as asked for: Right, Wrong or Unknown.
func (p *Pair) Verdict() verify.Verdict {
	if p.isBlind || p.byHand != "" || p.State.Verdict == verify.Pending {
		return verify.Unknown
	}
	return p.State.Verdict
}

// judgement is the measurement that tells most.
func (p *Pair) judgement() verify.Judgement {
	if p.State.Verdict == verify.Pending {
		return p.last
	}
	return p.Because
}

// RTT returns the round trip, and that without faults at the same moment; 0 for one that was
// not measured. It is the median, or the shortest if that is too short.
func (p *Pair) RTT() (measured, baseline time.Duration) {
	j := p.judgement()
	return j.Measured, j.Before
}

// IsCut reports whether there is no answer, as a partition asks for.
func (p *Pair) IsCut() bool { return p.Asked.Cut && p.Verdict() == verify.Right }

// off is how far the round trip is from what is asked for; 0 if that is not known.
func (p *Pair) off() time.Duration {
	rtt, baseline := p.RTT()
	if p.isBlind || p.byHand != "" || p.Asked.Cut || rtt == 0 || baseline == 0 {
		return 0
	}
	return (rtt - baseline - p.Asked.RTT).Abs()
}

// Why says in words why a pair is not as asked for, or why that is not known; "" if it is.
func (p *Pair) Why() string {
	switch {
	case p.why != "":
		return p.why
	case p.looks == 0:
		return "it was not measured"
	case p.byHand != "":
		return p.byHand
	case p.isBlind:
		if rtt, _ := p.RTT(); rtt > 0 {
			return ""
		}
		return "no answer"
	case p.State.Verdict == verify.Pending:
		return "its measurements contradict each other"
	default:
		return p.Explain()
	}
}
