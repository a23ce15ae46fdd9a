// Package wire writes what custom resources ask for as the agent's JSON has it, whose parser
// then reads it, and words what that finds by the fields of the custom resource. It is pure.
package wire

import (
	"errors"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Percent returns a percentage; 0 for none.
func Percent(p *v1alpha1.Percent) float64 {
	if p == nil {
		return 0
	}
	return float64(*p)
}

// Chance returns a chance; nil for none.
func Chance(c *v1alpha1.Chance) *api.Chance {
	if c == nil {
		return nil
	}
	return &api.Chance{Percent: float64(c.Percent), Correlation: Percent(c.Correlation)}
}

// Loss returns a loss; nil for none.
func Loss(l *v1alpha1.Loss) *api.Loss {
	if l == nil {
		return nil
	}
	all := &api.Loss{Percent: Percent(l.Percent), Correlation: Percent(l.Correlation)}
	if m := l.GilbertElliott; m != nil {
		all.GilbertElliott = &api.GilbertElliott{ToBad: float64(m.ToBad), ToGood: float64(m.ToGood), LossInBad: float64(m.LossInBad), LossInGood: float64(m.LossInGood)}
	}
	if m := l.FourState; m != nil {
		all.FourState = &api.FourState{P13: float64(m.P13), P31: float64(m.P31), P32: float64(m.P32), P23: float64(m.P23), P14: float64(m.P14)}
	}
	return all
}

// Rate returns a rate; nil for none.
func Rate(r *v1alpha1.Rate) *api.Rate {
	if r == nil {
		return nil
	}
	return &api.Rate{PerSecond: r.PerSecond, PacketOverhead: r.PacketOverhead, CellSize: uint32(max(r.CellSize, 0)), CellOverhead: r.CellOverhead} //nolint:gosec // it is not negative
}

// Words says what the agent's parser found, by the fields of the custom resource. prefix is
// what stands before their names, as "spec.". With isRoundTrip, the delay was given as rtt.
func Words(err error, prefix string, isRoundTrip bool) string {
	fields, ok := errors.AsType[fault.Invalid](err)
	if !ok {
		return err.Error()
	}
	var all []string
	for _, e := range fields {
		if isRoundTrip && e.Field == "delay" {
			e.Field = "rtt"
		}
		e.Field = prefix + e.Field
		all = append(all, e.Error())
	}
	return strings.Join(all, "; ")
}
