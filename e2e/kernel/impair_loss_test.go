//go:build kernel

package kernel

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

func lossOf(percent float64) *api.Loss { return &api.Loss{Percent: percent} }

// more makes the flow longer, for what is rare or comes in bursts.
func more(count int) func(*flow) {
	return func(f *flow) { f.Count, f.Burst = count, 20 }
}

func lossEffects() []effect {
	losses := func(p float64) func(got netlab.Traffic) error {
		return func(got netlab.Traffic) error {
			return errors.Join(netlab.WantBinomial("lost", len(got.Lost()), got.Sent, p), unlike(got.Duplicates(), got.Corrupt, got.Reordered()))
		}
	}
	bursts := func(share, length float64) func(got netlab.Traffic) error {
		return func(got netlab.Traffic) error {
			return errors.Join(netlab.WantNear("share lost", float64(len(got.Lost()))/float64(got.Sent), share, 0.35),
				netlab.WantNear("mean burst", got.BurstLength(), length, 0.25), unlike(got.Duplicates(), got.Corrupt, got.Reordered()))
		}
	}
	all := func(got netlab.Traffic) error {
		if len(got.Arrivals) > 0 {
			return fmt.Errorf("%d of %d came through", len(got.Arrivals), got.Sent)
		}
		return nil
	}
	fromBystander := func(f *flow) { f.From, f.To = f.To, f.From }
	fewer := func(f *flow) { f.Count = 1000 }
	few := func(f *flow) { f.Count = 200 }
	return []effect{
		{name: "loss 1 %", fault: api.Fault{Loss: lossOf(1)}, check: losses(0.01), flow: more(5000)},
		{name: "loss 30 %", fault: api.Fault{Loss: lossOf(30)}, check: losses(0.3), flow: fewer},
		{name: "loss 30 % over IPv6", fault: api.Fault{Loss: lossOf(30)}, check: losses(0.3), flow: func(f *flow) { fewer(f); f.V6 = true }},
		{name: "loss 30 % of what arrives", fault: api.Fault{Loss: lossOf(30)}, check: losses(0.3), flow: func(f *flow) { fewer(f); fromBystander(f) }},
		{name: "loss with a delay", fault: api.Fault{Loss: lossOf(10), Delay: "20ms"}, check: losses(0.1)},
		{name: "correlated loss", fault: api.Fault{Loss: &api.Loss{Percent: 30, Correlation: 25}}, check: func(got netlab.Traffic) error {
			if n := len(got.Lost()); n == 0 || n == got.Sent {
				return fmt.Errorf("%d of %d lost", n, got.Sent)
			}
			return nil
		}},
		// In the bad state for 5/(5+25) of the time, and for 1/25 % packets at once.
		{
			name: "Gilbert-Elliott", flow: more(6000), check: bursts(1./6, 4),
			fault: api.Fault{Loss: &api.Loss{GilbertElliott: &api.GilbertElliott{ToBad: 5, ToGood: 25, LossInBad: 100}}},
		},
		// Of 1 in state 1 there is 5/25 in state 3 and 0.02 in state 4; of seven
		// bursts five have four packets and two have one.
		{
			name: "four states", flow: more(6000), check: bursts(0.22/1.22, 22./7),
			fault: api.Fault{Loss: &api.Loss{FourState: &api.FourState{P13: 5, P31: 25, P14: 2}}},
		},
		{name: "partition of what leaves", fault: api.Fault{Partition: true}, check: all, flow: few},
		{name: "partition of what arrives", fault: api.Fault{Partition: true}, check: all, flow: func(f *flow) { few(f); fromBystander(f) }},
	}
}

// unlike wants nothing of what a loss is not.
func unlike(duplicates, corrupt, reordered int) error {
	if duplicates+corrupt+reordered > 0 {
		return fmt.Errorf("%d came twice, %d corrupt, %d late", duplicates, corrupt, reordered)
	}
	return nil
}

// The same seed loses the same datagrams, another one others.
func TestSeedRepeatsItself(t *testing.T) {
	a := startAgent(t)
	f := udp(a.lab.pod, a.lab.bystander, 1000)
	seeded := func(seed uint64) api.Fault { return only(f, api.Fault{Loss: lossOf(20), Seed: &seed}) }
	if reason := a.lacks("seed"); reason != "" {
		wantLacking(t, a, "seed", reason, seeded(7))
		return
	}
	lost := func(seed uint64) []int {
		a.apply(seeded(seed))
		defer a.apply()
		return f.Run(t).Lost()
	}
	first, again, other := lost(7), lost(7), lost(8)
	if len(first) == 0 || !slices.Equal(first, again) {
		t.Errorf("with one seed %d and then %d were lost, and not the same:\n%v\n%v", len(first), len(again), first, again)
	}
	if slices.Equal(first, other) {
		t.Errorf("with another seed the same %d were lost", len(first))
	}
}
