package fault

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestAverageLoss(t *testing.T) {
	const percent = percentDigit
	for name, test := range map[string]struct {
		impairment Impairment
		want       Percent
	}{
		"nothing":                  {Impairment{}, 0},
		"a partition":              {Impairment{Partition: true}, 0},
		"independent":              {Impairment{Loss: &Chance{Percent: 7}}, 7},
		"good and bad in turn":     {Impairment{GilbertElliott: &GilbertElliott{10 * percent, 30 * percent, 80 * percent, 4 * percent}}, 23 * percent},
		"good for ever":            {Impairment{GilbertElliott: &GilbertElliott{0, 30 * percent, 80 * percent, 4 * percent}}, 4 * percent},
		"good at first":            {Impairment{GilbertElliott: &GilbertElliott{1, 0, 80 * percent, 4 * percent}}, 80 * percent},
		"no burst":                 {Impairment{FourState: &FourState{P14: 25 * percent}}, 20 * percent},
		"a burst without an end":   {Impairment{FourState: &FourState{P13: 1}}, Hundred},
		"a burst with gaps":        {Impairment{FourState: &FourState{P13: 1, P32: 30 * percent, P23: 10 * percent}}, 25 * percent},
		"a gap without an end":     {Impairment{FourState: &FourState{P13: 1, P31: 1, P32: 1}}, 0},
		"bursts":                   {Impairment{FourState: &FourState{P13: 10 * percent, P31: 40 * percent}}, 20 * percent},
		"bursts, gaps and singles": {Impairment{FourState: &FourState{10 * percent, 40 * percent, 20 * percent, 10 * percent, 25 * percent}}, 25 * percent},
	} {
		if got := test.impairment.AverageLoss(); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// The share is that of packets lost one after the other.
func TestAverageLossCounted(t *testing.T) {
	const packets = 400_000
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		part := func(most Percent) Percent { return Hundred/20 + Percent(random.Uint32N(uint32(most))) }
		f := FourState{P13: part(Hundred / 2), P31: part(Hundred / 2), P32: part(Hundred / 3), P23: part(Hundred / 2), P14: part(Hundred / 3)}
		state, lost := 1, 0
		for range packets {
			switch at := Percent(random.Uint32N(uint32(Hundred))); {
			case state == 1 && at < f.P13, state == 2 && at < f.P23:
				state = 3
			case state == 1 && at < f.P13+f.P14:
				state = 4
			case state == 4, state == 3 && at < f.P31:
				state = 1
			case state == 3 && at < f.P31+f.P32:
				state = 2
			}
			if state > 2 {
				lost++
			}
		}
		want := Impairment{FourState: &f}.AverageLoss().Float() / 100
		if got := float64(lost) / packets; math.Abs(got-want) > 0.02 {
			t.Errorf("%+v loses %.3f, want %.3f", f, got, want)
		}
	}
}
