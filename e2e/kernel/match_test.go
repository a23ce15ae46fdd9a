//go:build kernel

package kernel

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// match is a set of faults and which flows they meet.
type match struct {
	name   string
	faults []api.Fault
	// met flows are delayed by so much each; spared flows never notice.
	met    []metFlow
	spared []flow
}

type metFlow struct {
	flow
	delay time.Duration
}

// delayed is the match's fault with the delay that marks it.
func delayed(w api.Fault) []api.Fault {
	w.Name, w.Delay = "met", machine.Marking.String()
	return []api.Fault{w}
}

// met wants the flows to meet the fault that delayed makes.
func met(flows ...flow) []metFlow {
	var all []metFlow
	for _, f := range flows {
		all = append(all, metFlow{f, machine.Marking})
	}
	return all
}

// trickle is a flow of a packet every 10 ms, to a port of the target.
func trickle(from, to *netlab.Host, port int, change ...func(*flow)) flow {
	f := flow{From: from, To: to, Port: port, Count: 15, Burst: 1, Pace: 10 * time.Millisecond, Size: 64, Settle: 2 * machine.Marking, Brief: true}
	for _, c := range change {
		c(&f)
	}
	return f
}

func overV6(f *flow)                      { f.V6 = true }
func toAddress(target string) func(*flow) { return func(f *flow) { f.Target = target } }
func fromAddress(ip string) func(*flow)   { return func(f *flow) { f.Source = ip } }
func fromPort(port int) func(*flow)       { return func(f *flow) { f.Local = port } }

func (m match) test(t *testing.T, a *agent) {
	a.t = t
	netlab.Retry(t, m.name, func() error { return m.try(a) })
}

// try sets the faults, changes and clears them while the spared flows run, and
// beside one that stays: the first and the last are another matter, see
// TestFirstAndLast.
func (m match) try(a *agent) error {
	stays := api.Fault{Name: "stays", Peers: []string{"192.0.2.1"}, Delay: "1ms"}
	a.apply(stays)
	defer a.apply()
	stop := make(chan struct{})
	var ends []func() (netlab.Traffic, error)
	for _, f := range m.spared {
		f.Count, f.Until = 10_000, stop
		ends = append(ends, f.Start())
	}
	a.apply(append(slices.Clone(m.faults), stays)...)
	err := wantMet(m.met)
	changed := slices.Clone(m.faults)
	for i := range changed {
		changed[i].Jitter = "1ms"
	}
	a.apply(append(changed, stays)...)
	a.apply(stays)
	for _, one := range m.met {
		one.delay = 0
		err = errors.Join(err, one.want(one.Start()))
	}
	close(stop)
	for i, end := range ends {
		got, failed := end()
		err = errors.Join(err, failed, undisturbed(m.spared[i], got))
	}
	return err
}

// wantMet sends all flows at once.
func wantMet(flows []metFlow) error {
	var ends []func() (netlab.Traffic, error)
	for _, f := range flows {
		ends = append(ends, f.Start())
	}
	var err error
	for i, f := range flows {
		err = errors.Join(err, f.want(ends[i]))
	}
	return err
}

// want wants every datagram, late by the delay and not much more.
func (f metFlow) want(end func() (netlab.Traffic, error)) error {
	got, err := end()
	if err != nil {
		return err
	}
	if lost := len(got.Lost()); lost > 0 {
		return fmt.Errorf("%s: %d of %d lost", f, lost, got.Sent)
	}
	least, typical := slices.Min(got.Delays()), machine.Typical(got.Delays())
	if least < f.delay || typical > f.delay+machine.Marking/3 {
		return fmt.Errorf("%s: delays from %s, typical %s, want %s", f, least, typical, f.delay)
	}
	return nil
}

// undisturbed wants what a flow is without any fault.
func undisturbed(f flow, got netlab.Traffic) error {
	if got.Sent == 0 {
		return fmt.Errorf("%s: nothing was sent", f)
	}
	if len(got.Lost())+got.Duplicates()+got.Reordered()+got.Corrupt > 0 {
		return fmt.Errorf("%s, which no fault is for: of %d datagrams %d lost, %d twice, %d late, %d corrupt",
			f, got.Sent, len(got.Lost()), got.Duplicates(), got.Reordered(), got.Corrupt)
	}
	typical, most := machine.Typical(got.Delays()), slices.Max(got.Delays())
	if typical > machine.Lag+5*time.Millisecond || most >= machine.Marking {
		return fmt.Errorf("%s, which no fault is for: typical delay %s, longest %s", f, typical, most)
	}
	return nil
}
