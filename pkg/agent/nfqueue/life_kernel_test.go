//go:build linux && kernel

package nfqueue

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

func TestKernelState(t *testing.T) {
	here, there := newPods(t)
	there.Echo(t, there.IP)
	a := here.start(t, fault.Exemption{})
	if state := a.state(latency(5 * time.Millisecond)); len(state.Found) > 0 || len(state.Drift) == 0 {
		t.Errorf("without a fault %+v", state)
	}
	const count = 10
	a.set(5 * time.Millisecond)
	here.RoundTrips(t, there.IP, count)
	a.set(5 * time.Millisecond) // changes nothing, counts on
	// Datagrams of 8 bytes with their headers, and what IPv6 says by itself.
	c := a.counters(latency(5 * time.Millisecond))
	if c.Packets < count || c.Bytes < count*(8+8+20) || c.Dropped != 0 || c.Overlimits != 0 || c.Backlog > 1 {
		t.Errorf("counters %+v after %d packets", c, count)
	}
	if state := a.state(latency(6 * time.Millisecond)); len(state.Found) > 0 {
		t.Errorf("a delay of 5ms is taken for 6ms: %+v", state)
	}
	if rules := here.ruleset(t); strings.Count(rules, `comment "tidelay latency delay=5ms"`) != 2 {
		t.Errorf("people don't find the fault in\n%s", rules)
	}
	a.apply()
	a.apply()
	if state := a.state(); len(state.Found)+len(state.Drift) > 0 {
		t.Errorf("after clear %+v", state)
	}
	if rules := here.ruleset(t); rules != "" {
		t.Errorf("clear leaves\n%s", rules)
	}
	wantRoundTrips(t, here, there, 0)
}

// What waits for minutes leaves at once and in order, however its fault ends.
func TestKernelEndsLetGoOfWhatWaits(t *testing.T) {
	waiting := latency(10 * time.Minute)
	spread := waiting
	spread.Jitter = "1ms"
	other := api.Fault{Name: "other", Peers: []string{"10.99.0.77"}, Delay: "5ms"}
	cut := api.Fault{Name: fault.Latency, Partition: true}
	for name, c := range map[string]struct {
		before, after []api.Fault
		reorders      bool
	}{
		"cleared":              {[]api.Fault{waiting}, nil, false},
		"jitter, cleared":      {[]api.Fault{spread}, nil, false},
		"replaced by another":  {[]api.Fault{waiting}, []api.Fault{other}, false},
		"removed from the set": {[]api.Fault{waiting, other}, []api.Fault{other}, false},
		"shortened":            {[]api.Fault{waiting}, []api.Fault{latency(time.Millisecond)}, false},
		"jitter, shortened":    {[]api.Fault{spread}, []api.Fault{latency(time.Millisecond)}, true},
		"turned into a cut":    {[]api.Fault{waiting}, []api.Fault{cut}, false},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := newPods(t)
			a := here.start(t, fault.Exemption{})
			a.apply(c.before...)
			const count = 100
			end := udp(here, there, count, 5*time.Second).Start()
			netlab.Eventually(t, time.Second, "all packets wait", func() error { return a.waiting(c.before[0], count) })
			a.apply(c.after...)
			got, err := end()
			if err = errors.Join(err, got.Intact()); err == nil && !c.reorders {
				err = got.Ordered()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// waiting has an error unless at least so many packets wait in a fault.
func (a *agent) waiting(f api.Fault, count uint64) error {
	a.t.Helper()
	if c := a.counters(f); c.Backlog < count {
		return fmt.Errorf("%d packets wait, want at least %d", c.Backlog, count)
	}
	return nil
}

// The next agent finds the places of faults by their names, so that what did
// not change is not written again.
func TestKernelRestartFindsSlots(t *testing.T) {
	here, there := newPods(t)
	there.Echo(t, there.IP)
	first := api.Fault{Name: "a", Peers: []string{"10.99.0.77"}, Delay: "1ms"}
	second := api.Fault{Name: "b", Direction: "both", Peers: []string{there.v4.String()}, Delay: "5ms"}
	a := here.start(t, fault.Exemption{})
	a.apply(first, second)
	a.apply(second) // "b" is not in the first place
	here.RoundTrips(t, there.IP, 5)
	before := here.ruleset(t)
	a.kill()
	a = here.start(t, fault.Exemption{})
	if found, err := a.tryAdopt(); err == nil || !strings.Contains(err.Error(), fault.ErrLeftover.Error()) {
		t.Errorf("without its state the agent adopts %q, %v", found, err)
	}
	a.apply(second)
	if diff := cmp.Diff(before, here.ruleset(t)); diff != "" {
		t.Errorf("rules were changed (-before +after)\n%s", diff)
	}
	if c := a.counters(second); c.Packets < 10 {
		t.Errorf("the rules count anew: %+v", c)
	}
	wantRoundTrips(t, here, there, 10*time.Millisecond)
}

func TestKernelAgentStopped(t *testing.T) {
	here, there := newPods(t)
	there.Echo(t, there.IP)
	a := here.start(t, fault.Exemption{})
	a.set(10 * time.Minute)
	end := udp(here, there, 1, 5*time.Second).Start()
	netlab.Eventually(t, time.Second, "a packet waits", func() error { return a.waiting(latency(10*time.Minute), 1) })
	a.stop()
	got, err := end()
	if err = errors.Join(err, got.Intact()); err != nil {
		t.Errorf("what waited when the agent stopped: %v", err)
	}
	wantRoundTrips(t, here, there, 0)
	if rules := here.ruleset(t); !strings.Contains(rules, "delay=10m0s") && !strings.Contains(rules, "delay=600s") {
		t.Errorf("the fault is gone from\n%s", rules)
	}
}

// An agent that gets no processor time delays less, but loses nothing: once
// its messages find no room, packets pass.
func TestKernelReaderStalled(t *testing.T) {
	const count = 80_000
	here, there := newPods(t)
	a := here.start(t, fault.Exemption{})
	a.set(20 * time.Millisecond)
	a.freeze()
	sent := make(chan struct{})
	f := udp(here, there, count, 30*time.Second)
	f.Sent = sent
	end := f.Start()
	<-sent
	a.signal(unix.SIGCONT)
	got, err := end()
	if err = errors.Join(err, got.Intact()); err != nil {
		t.Error(err)
	}
	// The next id shows which ones are missing.
	if got := udp(here, there, 1, time.Second).Run(t); len(got.Arrivals) != 1 {
		t.Error("the packet after them is lost")
	}
	c := a.counters(latency(20 * time.Millisecond))
	if c.Overlimits == 0 || c.Overlimits >= count || c.Dropped != 0 || c.Backlog > 1 {
		t.Errorf("counters %+v after %d packets, of which some had to pass undelayed", c, count)
	}
}
