package fault

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// maxSeed is the largest integer that every JSON parser keeps exactly.
const maxSeed = 1<<53 - 1

func (p *parser) impairment(at string, w api.Fault) Impairment {
	var i Impairment
	before := len(p.invalid)
	p.timing(at, w, &i)
	p.loss(at+"loss", w.Loss, &i)
	i.Duplicate = p.chance(at+"duplicate", w.Duplicate)
	i.Corrupt = p.chance(at+"corrupt", w.Corrupt)
	i.Reorder = p.reorder(at+"reorder", w)
	i.Rate = p.rate(at+"rate", w.Rate)
	i.Partition, i.Seed = w.Partition, w.Seed
	rest := i
	rest.Partition, rest.Seed = false, nil
	switch {
	case i.Partition && rest != (Impairment{}):
		p.bad(at+"partition", "true", "a partition drops every packet: want it alone")
	case i.Seed != nil && *i.Seed > maxSeed:
		p.bad(at+"seed", strconv.FormatUint(*i.Seed, 10), "want an integer from 0 to 9007199254740991")
	case i.Seed != nil && !i.Random():
		p.bad(at+"seed", strconv.FormatUint(*i.Seed, 10), "nothing here is random: want jitter, loss, duplicate, corrupt or reorder with it")
	case i.IsZero() && len(p.invalid) == before:
		p.bad(at+"delay", w.Delay, "want at least one of delay, loss, duplicate, corrupt, rate and partition")
	}
	return i
}

func (p *parser) timing(at string, w api.Fault, i *Impairment) {
	before := len(p.invalid)
	i.Delay = p.delay(at+"delay", w.Delay)
	p.jitter(at, w, i, len(p.invalid) > before)
}

// jitter reads the jitter of a fault whose delay is known. A delay or a jitter
// that is bad itself is one mistake: what depends on it is then not checked.
func (p *parser) jitter(at string, w api.Fault, i *Impairment, badDelay bool) {
	before := len(p.invalid)
	i.Jitter = p.delay(at+"jitter", w.Jitter)
	bad := badDelay || len(p.invalid) > before
	i.Correlation = p.percent(at+"correlation", w.Correlation)
	i.Distribution = Distribution(w.Distribution)
	switch i.Distribution {
	case "", Uniform, Normal, Pareto, ParetoNormal:
	default:
		p.bad(at+"distribution", w.Distribution, "want uniform, normal, pareto or paretonormal")
	}
	switch {
	case bad:
	case i.Jitter > i.Delay:
		p.bad(at+"jitter", w.Jitter, fmt.Sprintf("want at most the delay, %s: no packet can leave before it came", FormatDelay(i.Delay)))
	case i.Jitter > MaxJitter:
		p.bad(at+"jitter", w.Jitter, fmt.Sprintf("want at most %s, the most that kernels can hold", FormatDelay(MaxJitter)))
	}
	if i.Jitter > 0 && i.Distribution == "" {
		i.Distribution = Uniform
	}
	if i.Jitter > 0 || bad {
		return
	}
	if w.Correlation != 0 {
		p.bad(at+"correlation", number(w.Correlation), "correlation is that of the jitter: want a jitter with it")
	}
	if w.Distribution != "" {
		p.bad(at+"distribution", w.Distribution, "distribution is that of the jitter: want a jitter with it")
	}
}

func (p *parser) delay(field, text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := ParseDelay(text)
	if err != nil {
		p.bad(field, text, DelayAccepted)
	}
	return d
}

func (p *parser) loss(field string, w *api.Loss, i *Impairment) {
	if w == nil {
		return
	}
	models := 0
	if w.Percent != 0 || w.Correlation != 0 {
		models++
		i.Loss = p.chance(field, &api.Chance{Percent: w.Percent, Correlation: w.Correlation})
	}
	if m := w.GilbertElliott; m != nil {
		models++
		at := field + ".gilbertElliott."
		i.GilbertElliott = &GilbertElliott{
			ToBad: p.percent(at+"toBad", m.ToBad), ToGood: p.percent(at+"toGood", m.ToGood),
			LossInBad: p.percent(at+"lossInBad", m.LossInBad), LossInGood: p.percent(at+"lossInGood", m.LossInGood),
		}
		if m.LossInGood == 0 && (m.ToBad == 0 || m.LossInBad == 0) {
			p.bad(field+".gilbertElliott", "toBad or lossInBad 0", "this never loses a packet: want toBad and lossInBad, or lossInGood, above 0")
		}
	}
	if m := w.FourState; m != nil {
		models++
		at := field + ".fourState."
		i.FourState = &FourState{
			P13: p.percent(at+"p13", m.P13), P31: p.percent(at+"p31", m.P31), P32: p.percent(at+"p32", m.P32),
			P23: p.percent(at+"p23", m.P23), P14: p.percent(at+"p14", m.P14),
		}
		switch {
		case m.P13 == 0 && m.P14 == 0:
			p.bad(field+".fourState", "p13 and p14 0", "this never loses a packet: want p13 or p14 above 0")
		case m.P13+m.P14 > 100:
			p.bad(at+"p13", number(m.P13), "p13 and p14 leave the same state: want their sum at most 100")
		case m.P31+m.P32 > 100:
			p.bad(at+"p31", number(m.P31), "p31 and p32 leave the same state: want their sum at most 100")
		}
	}
	if models != 1 {
		p.bad(field, fmt.Sprintf("%d models", models), "want exactly one of percent, gilbertElliott and fourState")
	}
}

func (p *parser) chance(field string, w *api.Chance) *Chance {
	if w == nil {
		return nil
	}
	if w.Percent == 0 {
		p.bad(field+".percent", "0", "want more than 0; leave "+field+" out for none")
	}
	return &Chance{Percent: p.percent(field+".percent", w.Percent), Correlation: p.percent(field+".correlation", w.Correlation)}
}

func (p *parser) reorder(field string, f api.Fault) *Reorder {
	w := f.Reorder
	if w == nil {
		return nil
	}
	chance := p.chance(field, &api.Chance{Percent: w.Percent, Correlation: w.Correlation})
	if delay, err := ParseDelay(f.Delay); f.Delay == "" || err == nil && delay == 0 {
		p.bad(field, number(w.Percent)+"%", "packets overtake those that are delayed: want a delay with it")
	}
	const maxGap = 1_000_000
	if w.Gap > maxGap {
		p.bad(field+".gap", strconv.FormatUint(uint64(w.Gap), 10), fmt.Sprintf("want from 1 (every packet) to %d", maxGap))
	}
	return &Reorder{Percent: chance.Percent, Correlation: chance.Correlation, Gap: max(w.Gap, 1)}
}

func (p *parser) rate(field string, w *api.Rate) *Rate {
	if w == nil {
		return nil
	}
	bits, err := ParseRate(w.PerSecond)
	if err != nil {
		p.bad(field+".perSecond", w.PerSecond, rateAccepted)
	}
	const most = 10_000 // bytes; more than any frame or cell
	bounded := func(name string, value int64, least int64) {
		if value < least || value > most {
			p.bad(field+"."+name, strconv.FormatInt(value, 10), fmt.Sprintf("want from %d to %d bytes", least, most))
		}
	}
	bounded("packetOverhead", int64(w.PacketOverhead), -most)
	bounded("cellSize", int64(w.CellSize), 0)
	bounded("cellOverhead", int64(w.CellOverhead), -most)
	if w.CellOverhead != 0 && w.CellSize == 0 {
		p.bad(field+".cellOverhead", strconv.Itoa(int(w.CellOverhead)), "want a cellSize with it")
	}
	return &Rate{BitsPerSecond: bits, PacketOverhead: w.PacketOverhead, CellSize: w.CellSize, CellOverhead: w.CellOverhead}
}

func (p *parser) percent(field string, value float64) Percent {
	parsed, err := ParsePercent(value)
	if err != nil {
		p.bad(field, number(value), percentAccepted)
	}
	return parsed
}

func number(f float64) string {
	if math.Abs(f) > 1e9 {
		return strconv.FormatFloat(f, 'g', 3, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}
