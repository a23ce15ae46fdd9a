package fault

import (
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Wire returns the fault as the API shows it, with every value in its shortest
// form. Parse returns the same fault again.
func (f Fault) Wire() api.Fault {
	i := f.Impairment
	w := api.Fault{
		Name:         f.Name,
		Owner:        f.Owner,
		Direction:    f.Match.Direction.String(),
		Device:       f.Match.Device,
		Protocol:     f.Match.Protocol,
		Correlation:  i.Correlation.Float(),
		Distribution: string(i.Distribution),
		Duplicate:    i.Duplicate.wire(),
		Corrupt:      i.Corrupt.wire(),
		Loss:         i.wireLoss(),
		Partition:    i.Partition,
		Seed:         i.Seed,
	}
	for _, peer := range f.Match.Peers {
		if peer.IsSingleIP() {
			w.Peers = append(w.Peers, peer.Addr().String())
		} else {
			w.Peers = append(w.Peers, peer.String())
		}
	}
	if len(f.Match.LocalPorts)+len(f.Match.RemotePorts) > 0 {
		w.Ports = &api.Ports{Local: f.Match.LocalPorts, Remote: f.Match.RemotePorts}
	}
	if i.Delay > 0 {
		w.Delay = FormatDelay(i.Delay)
	}
	if i.Jitter > 0 {
		w.Jitter = FormatDelay(i.Jitter)
	}
	if r := i.Reorder; r != nil {
		w.Reorder = &api.Reorder{Percent: r.Percent.Float(), Correlation: r.Correlation.Float(), Gap: r.Gap}
	}
	if r := i.Rate; r != nil {
		w.Rate = &api.Rate{PerSecond: FormatRate(r.BitsPerSecond), PacketOverhead: r.PacketOverhead, CellSize: r.CellSize, CellOverhead: r.CellOverhead}
	}
	if !f.ExpiresAt.IsZero() {
		w.ExpiresAt = f.ExpiresAt.UTC().Format(time.RFC3339Nano)
	}
	return w
}

// WireSet returns faults as the API shows them, never nil.
func WireSet(faults []Fault) []api.Fault {
	all := make([]api.Fault, 0, len(faults))
	for _, f := range faults {
		all = append(all, f.Wire())
	}
	return all
}

func (c *Chance) wire() *api.Chance {
	if c == nil {
		return nil
	}
	return &api.Chance{Percent: c.Percent.Float(), Correlation: c.Correlation.Float()}
}

func (i Impairment) wireLoss() *api.Loss {
	switch {
	case i.Loss != nil:
		return &api.Loss{Percent: i.Loss.Percent.Float(), Correlation: i.Loss.Correlation.Float()}
	case i.GilbertElliott != nil:
		m := i.GilbertElliott
		return &api.Loss{GilbertElliott: &api.GilbertElliott{
			ToBad: m.ToBad.Float(), ToGood: m.ToGood.Float(), LossInBad: m.LossInBad.Float(), LossInGood: m.LossInGood.Float(),
		}}
	case i.FourState != nil:
		m := i.FourState
		return &api.Loss{FourState: &api.FourState{
			P13: m.P13.Float(), P31: m.P31.Float(), P32: m.P32.Float(), P23: m.P23.Float(), P14: m.P14.Float(),
		}}
	default:
		return nil
	}
}
