//go:build kernel

package kernel

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// effect is an impairment and how its netlab.Traffic differs from that without.
type effect struct {
	name  string
	fault api.Fault
	// needs is the feature that an engine may lack.
	needs string
	check func(got netlab.Traffic) error
	// flow changes how it is measured; nil for the usual.
	flow func(*flow)
}

// only narrows a fault to one flow, so that no other packet takes a random
// number or meets it.
func only(f flow, w api.Fault) api.Fault {
	w.Name, w.Protocol = "measured", "udp"
	peer, direction := f.To, "egress"
	if f.To == theLab.pod {
		peer, direction = f.From, "ingress"
	}
	w.Direction, w.Peers = direction, []string{peer.IP, peer.IP6}
	port := []api.PortRange{{First: uint16(f.Port), Last: uint16(f.Port)}}
	if direction == "egress" {
		w.Ports = &api.Ports{Remote: port}
	} else {
		w.Ports = &api.Ports{Local: port}
	}
	return w
}

// The control of all effects: without a fault a flow has none of them.
func TestNoEffectWithoutAFault(t *testing.T) {
	startAgent(t)
	if err := udp(theLab.pod, theLab.bystander, 2000).Run(t).Ordered(); err != nil {
		t.Error(err)
	}
}

func TestTimingEffects(t *testing.T) {
	a := startAgent(t)
	testEffects(t, a, timingEffects(t, addedDelay(t, a)))
}

func TestLossEffects(t *testing.T) { testEffects(t, startAgent(t), lossEffects()) }

func TestDamageEffects(t *testing.T) { testEffects(t, startAgent(t), damageEffects()) }

func TestRateEffects(t *testing.T) { testEffects(t, startAgent(t), rateEffects()) }

func testEffects(t *testing.T, a *agent, effects []effect) {
	t.Helper()
	for _, e := range effects {
		t.Run(e.name, func(t *testing.T) { e.test(t, a) })
	}
}

// addedDelay is what the lab's timers and threads add to a delay. The shape of
// a distribution is looked for from there.
func addedDelay(t *testing.T, a *agent) (added time.Duration) {
	t.Helper()
	f := udp(a.lab.pod, a.lab.bystander, 0)
	sparse(&f)
	f.Count = 200
	a.apply(only(f, api.Fault{Delay: "20ms"}))
	defer a.apply()
	netlab.Retry(t, "the lab's own delay", func() error {
		if added = machine.Typical(f.Run(t).Delays()) - 20*time.Millisecond; added > machine.Lag+2*time.Millisecond {
			return fmt.Errorf("%s: the machine is too busy to measure anything", added)
		}
		return nil
	})
	return added
}

func (e effect) test(t *testing.T, a *agent) {
	a.t = t
	f := udp(a.lab.pod, a.lab.bystander, 2000)
	if e.flow != nil {
		e.flow(&f)
	}
	w := only(f, e.fault)
	if reason := a.lacks(e.needs); reason != "" {
		wantLacking(t, a, e.needs, reason, w)
		return
	}
	netlab.Retry(t, e.name, func() error {
		a.apply(w)
		defer a.apply()
		return e.check(f.Run(t))
	})
}

// settled is a flow out of the pod that waits for what is delayed or dammed up.
func settled(d time.Duration) func(*flow) {
	return func(f *flow) { f.Settle, f.Brief, f.Stamped = d, true, true }
}

// sparse makes the flow one whose delays say more of the fault than of a busy
// machine.
func sparse(f *flow) {
	f.Count, f.Burst, f.Pace, f.Settle, f.Brief, f.Stamped = 800, 2, 5*time.Millisecond, 500*time.Millisecond, true, true
}

func timingEffects(t *testing.T, added time.Duration) []effect {
	t.Helper()
	uniform := [5]float64{-0.8, -0.68, 0, 0.68, 0.8}
	return []effect{
		{name: "delay", flow: sparse, fault: api.Fault{Delay: "20ms"}, check: func(got netlab.Traffic) error {
			err := got.Intact()
			if got.Reordered() > 0 {
				err = errors.Join(err, fmt.Errorf("%d of %d came late", got.Reordered(), got.Sent))
			}
			if off := machine.Typical(got.Delays()) - 20*time.Millisecond; off.Abs() > machine.Lag+time.Millisecond {
				err = errors.Join(err, fmt.Errorf("the delay is off by %s", off))
			}
			if least := slices.Min(got.Delays()); least < 20*time.Millisecond {
				err = errors.Join(err, fmt.Errorf("a delay of %s", least))
			}
			return err
		}},
		// The points are the quantiles of each distribution with mean 0 and, but
		// for the uniform one, deviation 1, its tails cut at 4.
		spread("uniform", added, -1, uniform),
		spread("normal", added, -4, [5]float64{-1.282, -0.995, 0, 0.995, 1.282}),
		spread("pareto", added, -0.82, [5]float64{-0.757, -0.714, -0.361, 0.668, 1.221}),
		spread("paretonormal", added, -1.8, [5]float64{-0.945, -0.820, -0.247, 0.773, 1.238}),
		// netem looks a delay up by the lowest bits of the random number (tabledist
		// in net/sched/sch_netem.c), and these don't correlate: the kernel holds
		// the percentage, and packets don't show it.
		{
			name: "correlation", flow: scattered, fault: api.Fault{Delay: (9 * machine.Jitter / 2).String(), Jitter: machine.Jitter.String(), Correlation: 75},
			check: func(got netlab.Traffic) error {
				if engineName == "netem" {
					shown := strings.Join(strings.Fields(theLab.pod.Exec(t, "tc qdisc show dev eth0")), " ")
					if !strings.Contains(shown, fmt.Sprintf("delay %s %s 75%%", 9*machine.Jitter/2, machine.Jitter)) {
						return fmt.Errorf("tc shows %s", shown)
					}
					return spread("uniform", added, -1, uniform).check(got)
				}
				return errors.Join(got.Intact(), wantResemblance(got, 0.5))
			},
		},
	}
}

// scattered is a sparse flow whose last datagrams take several jitters more.
func scattered(f *flow) {
	sparse(f)
	f.Settle = max(f.Settle, 10*machine.Jitter)
}

// spread is a jitter around four and a half times as much. Its delays never are
// below least jitters from the middle, and have their quantiles at the points.
func spread(distribution string, added time.Duration, least float64, points [5]float64) effect {
	delay := 9 * machine.Jitter / 2
	at := func(point float64) time.Duration { return delay + time.Duration(point*float64(machine.Jitter)) }
	return effect{
		name: distribution + " jitter", flow: scattered,
		fault: api.Fault{Delay: delay.String(), Jitter: machine.Jitter.String(), Distribution: distribution},
		check: func(got netlab.Traffic) error {
			err := got.Intact()
			if first := slices.Min(got.Delays()); first < at(least)-100*time.Microsecond {
				err = errors.Join(err, fmt.Errorf("a delay of %s, want at least %s", first, at(least)))
			}
			for i, share := range []float64{0.1, 0.16, 0.5, 0.84, 0.9} {
				err = errors.Join(err, netlab.WantQuantile(got.Delays(), share, at(points[i])+added, machine.Jitter/20))
			}
			if got.Reordered() == 0 {
				err = errors.Join(err, errors.New("none overtook another"))
			}
			return err
		},
	}
}

// wantResemblance wants a correlation of each delay with that of the datagram
// sent before.
func wantResemblance(got netlab.Traffic, least float64) error {
	delays := make([]float64, got.Sent) // in milliseconds, by number
	var mean float64
	for _, a := range got.Arrivals {
		delays[a.Number] = a.Delay.Seconds() * 1e3
		mean += delays[a.Number] / float64(len(got.Arrivals))
	}
	var together, alone float64
	for i := 1; i < len(delays); i++ {
		together += (delays[i] - mean) * (delays[i-1] - mean)
		alone += (delays[i] - mean) * (delays[i] - mean)
	}
	if r := together / alone; r < least {
		return fmt.Errorf("delays of neighbours correlate by %.2f, want at least %.2f", r, least)
	}
	return nil
}
