package fault

import "math"

// AverageLoss returns the share of packets that are lost by chance in the long run: the
// percentage of Loss, or the stationary loss of a model. A partition is not by chance.
func (i Impairment) AverageLoss() Percent {
	switch {
	case i.Loss != nil:
		return i.Loss.Percent
	case i.GilbertElliott != nil:
		return percentOf(i.GilbertElliott.averageLoss())
	case i.FourState != nil:
		return percentOf(i.FourState.averageLoss())
	default:
		return 0
	}
}

// percentOf rounds a probability to the precision of Percent.
func percentOf(probability float64) Percent {
	return Percent(math.Round(probability * float64(Hundred)))
}

func (p Percent) probability() float64 { return float64(p) / float64(Hundred) }

func (g GilbertElliott) averageLoss() float64 {
	bad := 0.0 // the share of packets in the bad state, which is not the first one
	if g.ToBad > 0 {
		bad = g.ToBad.probability() / (g.ToBad.probability() + g.ToGood.probability())
	}
	return bad*g.LossInBad.probability() + (1-bad)*g.LossInGood.probability()
}

// averageLoss solves the balance of the chain: as often as it comes to a state, it
// leaves it.
func (f FourState) averageLoss() float64 {
	p13, p31, p32, p23, p14 := f.P13.probability(), f.P31.probability(), f.P32.probability(), f.P23.probability(), f.P14.probability()
	switch {
	case f.P13 == 0: // no burst ever begins
		return p14 / (1 + p14)
	case f.P31 == 0 && f.P32 == 0: // the first burst has no end
		return 1
	case f.P31 == 0: // no packet is outside a burst at last
		return p23 / (p23 + p32)
	case f.P32 > 0 && f.P23 == 0: // nothing is lost at last
		return 0
	}
	// Times in each state, for one in state 1.
	three, four := p13/p31, p14
	two := 0.0
	if f.P32 > 0 {
		two = three * p32 / p23
	}
	return (three + four) / (1 + two + three + four)
}
