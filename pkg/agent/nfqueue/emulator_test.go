//go:build linux

package nfqueue

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

func percent(p float64) fault.Percent { return fault.Percent(math.Round(p * 10_000)) }

// seeded returns an emulator whose random sequences are always the same.
func seeded(i fault.Impairment) *emulator {
	seed := uint64(42)
	i.Seed = &seed
	return newEmulator(i)
}

// outcomes returns what happens to packets that arrive at the same time.
func outcomes(e *emulator, count int) (delays []time.Duration, lost []bool) {
	for range count {
		deadline, isLost := e.schedule(0, 100, 1)
		if !isLost {
			delays = append(delays, deadline)
		}
		lost = append(lost, isLost)
	}
	return delays, lost
}

// within99_9 reports whether hits of n agree with the probability p. A correct
// implementation fails in 0.1 % of all cases (3.29 standard deviations).
func within99_9(hits, n int, p float64) bool {
	return math.Abs(float64(hits)-p*float64(n)) <= 3.29*math.Sqrt(float64(n)*p*(1-p))+1
}

func count(all []bool) int {
	n := 0
	for _, one := range all {
		if one {
			n++
		}
	}
	return n
}

// bursts returns how many times losses occur in a row, including single ones.
func bursts(lost []bool) int {
	n := 0
	for i, one := range lost {
		if one && (i == 0 || !lost[i-1]) {
			n++
		}
	}
	return n
}

const many = 200_000

func TestRandomLoss(t *testing.T) {
	for _, p := range []float64{0.01, 0.1, 1, 30, 100} {
		_, lost := outcomes(seeded(fault.Impairment{Loss: &fault.Chance{Percent: percent(p)}}), many)
		if got := count(lost); !within99_9(got, many, p/100) {
			t.Errorf("%g %%: %d of %d lost", p, got, many)
		}
	}
}

func TestCorrelatedLossComesInBursts(t *testing.T) {
	_, alone := outcomes(seeded(fault.Impairment{Loss: &fault.Chance{Percent: percent(30)}}), many)
	_, after := outcomes(seeded(fault.Impairment{Loss: &fault.Chance{Percent: percent(30), Correlation: percent(50)}}), many)
	length := func(lost []bool) float64 { return float64(count(lost)) / float64(bursts(lost)) }
	if length(after) < 1.05*length(alone) {
		t.Errorf("losses in a row: %.2f with a correlation, %.2f without", length(after), length(alone))
	}
}

func TestGilbertElliott(t *testing.T) {
	m := fault.GilbertElliott{ToBad: percent(1), ToGood: percent(20), LossInBad: percent(100)}
	_, lost := outcomes(seeded(fault.Impairment{GilbertElliott: &m}), many)
	// A share of 1/21 in bursts of 1/0.2 on average.
	share, length := float64(count(lost))/many, float64(count(lost))/float64(bursts(lost))
	if math.Abs(share-1.0/21) > 0.005 || math.Abs(length-5) > 0.5 {
		t.Errorf("%.4f lost in bursts of %.2f, want 0.0476 in bursts of 5", share, length)
	}
	m = fault.GilbertElliott{ToBad: percent(10), ToGood: percent(10), LossInBad: percent(50), LossInGood: percent(2)}
	_, lost = outcomes(seeded(fault.Impairment{GilbertElliott: &m}), many)
	if share := float64(count(lost)) / many; math.Abs(share-0.26) > 0.01 {
		t.Errorf("%.4f lost, want half of 50 %% and half of 2 %%", share)
	}
}

func TestFourState(t *testing.T) {
	for name, c := range map[string]struct {
		m             fault.FourState
		share, length float64
	}{
		// State 4 loses one packet and returns: p14/(1+p14).
		"single losses": {fault.FourState{P14: percent(10)}, 0.1 / 1.1, 1},
		// A plain Gilbert model: p13/(p13+p31), for 1/p31 packets.
		"bursts": {fault.FourState{P13: percent(2), P31: percent(25)}, 0.02 / 0.27, 4},
	} {
		_, lost := outcomes(seeded(fault.Impairment{FourState: &c.m}), many)
		share, length := float64(count(lost))/many, float64(count(lost))/float64(bursts(lost))
		if math.Abs(share-c.share) > 0.005 || math.Abs(length-c.length) > 0.2 {
			t.Errorf("%s: %.4f lost in bursts of %.2f, want %.4f and %.2f", name, share, length, c.share, c.length)
		}
	}
	// Within a burst some packets pass.
	m := fault.FourState{P13: percent(2), P31: percent(10), P32: percent(20), P23: percent(50)}
	_, lost := outcomes(seeded(fault.Impairment{FourState: &m}), many)
	if share := float64(count(lost)) / many; share < 0.1 || share > 0.16 {
		t.Errorf("with gaps in bursts %.4f lost", share)
	}
}

func TestJitter(t *testing.T) {
	for d, deviation := range map[fault.Distribution]float64{
		fault.Uniform: 5 / math.Sqrt(3), fault.Normal: 5, fault.Pareto: 5, fault.ParetoNormal: 5,
	} {
		delays, _ := outcomes(seeded(fault.Impairment{Delay: 40 * ms, Jitter: 5 * ms, Distribution: d}), many)
		var sum, squares float64
		for _, one := range delays {
			x := float64(one) / float64(ms)
			sum, squares = sum+x, squares+x*x
		}
		mean := sum / many
		if got := math.Sqrt(squares/many - mean*mean); math.Abs(mean-40) > 0.1 || math.Abs(got-deviation) > 0.1 {
			t.Errorf("%s: %.2f ms with a deviation of %.2f, want 40 and %.2f", d, mean, got, deviation)
		}
		if least, most := slices.Min(delays), slices.Max(delays); d == fault.Uniform && (least < 35*ms || most > 45*ms) {
			t.Errorf("uniform: from %s to %s", least, most)
		}
	}
}

func TestNoPacketLeavesBeforeItArrived(t *testing.T) {
	delays, _ := outcomes(seeded(fault.Impairment{Delay: ms, Jitter: ms, Distribution: fault.Normal}), many)
	if least := slices.Min(delays); least != 0 {
		t.Errorf("the least delay is %s, want 0", least)
	}
}

func TestCorrelatedJitterResemblesThePrevious(t *testing.T) {
	difference := func(correlation float64) float64 {
		delays, _ := outcomes(seeded(fault.Impairment{Delay: 40 * ms, Jitter: 5 * ms, Distribution: fault.Uniform, Correlation: percent(correlation)}), many)
		var sum time.Duration
		for i := 1; i < len(delays); i++ {
			sum += (delays[i] - delays[i-1]).Abs()
		}
		return float64(sum) / many
	}
	if with, without := difference(75), difference(0); with > without/2 {
		t.Errorf("from one packet to the next %.0f ns with a correlation of 75 %%, %.0f ns without", with, without)
	}
}

func TestReorder(t *testing.T) {
	for _, gap := range []uint32{1, 5} {
		delays, _ := outcomes(seeded(fault.Impairment{Delay: 10 * ms, Reorder: &fault.Reorder{Percent: percent(50), Gap: gap}}), many)
		ahead := 0
		for i, one := range delays {
			if one == 0 {
				ahead++
			}
			if gap == 5 && one == 0 && slices.Contains(delays[max(0, i-4):i], 0) {
				t.Fatalf("two packets within a gap of %d went ahead", gap)
			}
		}
		// Gap-1 packets can't go ahead. Each after them does so with a chance of one
		// half, so the next one is on average the second.
		want := 1 / (float64(gap) - 1 + 2)
		if !within99_9(ahead, many, want) && math.Abs(float64(ahead)/many-want) > 0.003 {
			t.Errorf("gap %d: %d of %d went ahead, want %.4f", gap, ahead, many, want)
		}
	}
}

func TestCellsAndOverhead(t *testing.T) {
	for name, c := range map[string]struct {
		rate fault.Rate
		size uint32
		want time.Duration
	}{
		"a frame":              {fault.Rate{BitsPerSecond: 8_000_000}, 986, 1000 * time.Microsecond},
		"with overhead":        {fault.Rate{BitsPerSecond: 8_000_000, PacketOverhead: 24}, 986, 1024 * time.Microsecond},
		"with less":            {fault.Rate{BitsPerSecond: 8_000_000, PacketOverhead: -14}, 986, 986 * time.Microsecond},
		"never less than none": {fault.Rate{BitsPerSecond: 8_000_000, PacketOverhead: -5000}, 986, 0},
		"in cells of ATM":      {fault.Rate{BitsPerSecond: 8_000_000, CellSize: 48, CellOverhead: 5}, 82, 106 * time.Microsecond},
		"exactly one cell":     {fault.Rate{BitsPerSecond: 8_000_000, CellSize: 48, CellOverhead: 5}, 34, 53 * time.Microsecond},
	} {
		if got := c.rate.TransmissionTime(c.size + fault.EthernetHeader); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestASeedRepeatsTheSequence(t *testing.T) {
	i := fault.Impairment{Delay: 10 * ms, Jitter: ms, Distribution: fault.Normal, Loss: &fault.Chance{Percent: percent(20)}}
	delays, lost := outcomes(seeded(i), 1000)
	delays2, lost2 := outcomes(seeded(i), 1000)
	if !slices.Equal(delays, delays2) || !slices.Equal(lost, lost2) {
		t.Error("the same seed gives another sequence")
	}
	if _, other := outcomes(newEmulator(i), 1000); slices.Equal(lost, other) {
		t.Error("without a seed the sequence is the same")
	}
}
