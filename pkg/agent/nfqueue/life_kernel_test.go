//go:build linux && kernel

package nfqueue

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

func (p pod) ruleset(t *testing.T) string {
	t.Helper()
	return p.exec(t, "nft", "--stateless", "list", "ruleset")
}

// untouched fails unless packets from here to there meet no delay.
func untouched(t *testing.T, here, there pod) {
	t.Helper()
	medianWithin(t, here, here.v4, there.v4, 0)
}

func TestKernelState(t *testing.T) {
	here, there := newPods(t)
	there.echo(t, there.v4)
	a := here.start(t, fault.Exemption{})
	if state := a.state(latency(5 * time.Millisecond)); len(state.Found) > 0 || len(state.Drift) == 0 {
		t.Errorf("without a fault %+v", state)
	}
	const count = 10
	a.set(5 * time.Millisecond)
	here.roundTrips(t, here.v4, there.v4, count)
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
	untouched(t, here, there)
}

// What waits for minutes leaves at once and in order, however its fault ends.
func TestKernelEndsLetGoOfWhatWaits(t *testing.T) {
	waiting := latency(10 * time.Minute)
	spread := waiting
	spread.Jitter = "1ms"
	other := api.Fault{Name: "other", Peers: []string{"10.99.0.77"}, Delay: "5ms"}
	cut := api.Fault{Name: fault.Latency, Partition: true}
	for name, c := range map[string]struct{ before, after []api.Fault }{
		"cleared":              {[]api.Fault{waiting}, nil},
		"jitter, cleared":      {[]api.Fault{spread}, nil},
		"replaced by another":  {[]api.Fault{waiting}, []api.Fault{other}},
		"removed from the set": {[]api.Fault{waiting, other}, []api.Fault{other}},
		"shortened":            {[]api.Fault{waiting}, []api.Fault{latency(time.Millisecond)}},
		"jitter, shortened":    {[]api.Fault{spread}, []api.Fault{latency(time.Millisecond)}},
		"turned into a cut":    {[]api.Fault{waiting}, []api.Fault{cut}},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := newPods(t)
			receiver := there.udp(t, there.v4, otherPort, time.Second)
			sender := here.udp(t, here.v4, 0, time.Second)
			a := here.start(t, fault.Exemption{})
			a.apply(c.before...)
			const count = 100
			for i := range byte(count) {
				send(t, sender, there.v4, otherPort, []byte{i})
			}
			if waiting := a.counters(c.before[0]).Backlog; waiting < count {
				t.Errorf("%d packets wait, want at least %d", waiting, count)
			}
			a.apply(c.after...)
			buffer, inOrder := make([]byte, 1), !strings.HasPrefix(name, "jitter, shortened")
			for i := range byte(count) {
				if _, err := receive(receiver, buffer); err != nil {
					t.Fatalf("datagram %d: %v", i, err)
				}
				if inOrder && buffer[0] != i {
					t.Fatalf("datagram %d came in the place of %d", buffer[0], i)
				}
			}
		})
	}
}

// Deadlines of before are forgotten by the next fault.
func TestKernelNothingSticks(t *testing.T) {
	here, there := newPods(t)
	there.echo(t, there.v4)
	sender := here.udp(t, here.v4, 0, time.Second)
	a := here.start(t, fault.Exemption{})
	a.set(10 * time.Minute)
	send(t, sender, there.v4, otherPort, []byte("waits"))
	a.apply()
	a.set(5 * time.Millisecond)
	medianWithin(t, here, here.v4, there.v4, 5*time.Millisecond)
}

// Somebody who removes all rules removes ours, and the kernel drops what waits.
func TestKernelRulesRemoved(t *testing.T) {
	here, there := newPods(t)
	there.echo(t, there.v4)
	sender := here.udp(t, here.v4, 0, time.Second)
	a := here.start(t, fault.Exemption{})
	a.set(10 * time.Minute)
	send(t, sender, there.v4, otherPort, []byte("never arrives"))
	here.exec(t, "nft", "flush", "ruleset")
	if state := a.state(latency(10 * time.Minute)); len(state.Found) > 0 || len(state.Drift) == 0 {
		t.Errorf("without rules %+v", state)
	}
	untouched(t, here, there)
	a.set(5 * time.Millisecond)
	medianWithin(t, here, here.v4, there.v4, 5*time.Millisecond)
}

// A rule of ours that somebody changes is noticed, and written anew by the next
// set.
func TestKernelRulesChanged(t *testing.T) {
	here, there := newPods(t)
	there.echo(t, there.v4)
	a := here.start(t, fault.Exemption{})
	a.set(5 * time.Millisecond)
	here.exec(t, "nft", "flush", "chain", "ip", tableName, "egress-0")
	if state := a.state(latency(5 * time.Millisecond)); len(state.Found) > 0 || len(state.Drift) == 0 {
		t.Errorf("with a chain that was emptied %+v", state)
	}
	a.set(5 * time.Millisecond)
	medianWithin(t, here, here.v4, there.v4, 5*time.Millisecond)
}

func TestKernelAgentKilled(t *testing.T) {
	here, there := newPods(t)
	there.echo(t, there.v4)
	a := here.start(t, fault.Exemption{})
	a.set(20 * time.Millisecond)
	before := here.ruleset(t)
	a.kill()
	untouched(t, here, there)
	fastStream(t, here, there, there.v4)

	// The next agent has learned another exemption meanwhile.
	a = here.start(t, fault.Exemption{NodeAddrs: []netip.Addr{there.v4}, ProbePorts: []uint16{20180}})
	if found, err := a.tryAdopt(); err != nil || found != "latency delay=20ms" {
		t.Fatalf("the agent finds %q, %v", found, err)
	}
	if after := here.ruleset(t); after == before || !strings.Contains(after, "tcp sport 20180") {
		t.Errorf("the new exemption is not in force in\n%s", after)
	}
	medianWithin(t, here, here.v4, there.v4, 20*time.Millisecond)
	a.apply()
	untouched(t, here, there)
}

// The next agent finds the places of faults by their names, so that what did
// not change is not written again.
func TestKernelRestartFindsSlots(t *testing.T) {
	here, there := newPods(t)
	there.echo(t, there.v4)
	first := api.Fault{Name: "a", Peers: []string{"10.99.0.77"}, Delay: "1ms"}
	second := api.Fault{Name: "b", Direction: "both", Peers: []string{there.v4.String()}, Delay: "5ms"}
	a := here.start(t, fault.Exemption{})
	a.apply(first, second)
	a.apply(second) // "b" is not in the first place
	here.roundTrips(t, here.v4, there.v4, 5)
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
	medianWithin(t, here, here.v4, there.v4, 10*time.Millisecond)
}

func TestKernelAgentStopped(t *testing.T) {
	here, there := newPods(t)
	there.echo(t, there.v4)
	receiver := there.udp(t, there.v4, otherPort, time.Second)
	sender := here.udp(t, here.v4, 0, time.Second)
	a := here.start(t, fault.Exemption{})
	a.set(10 * time.Minute)
	send(t, sender, there.v4, otherPort, []byte("last words"))
	a.stop()
	if _, err := receive(receiver, make([]byte, 16)); err != nil {
		t.Errorf("what waited when the agent stopped: %v", err)
	}
	untouched(t, here, there)
	if rules := here.ruleset(t); !strings.Contains(rules, "delay=10m0s") && !strings.Contains(rules, "delay=600s") {
		t.Errorf("the fault is gone from\n%s", rules)
	}
}

// An agent that gets no processor time delays less, but loses nothing: once
// its messages find no room, packets pass.
func TestKernelReaderStalled(t *testing.T) {
	const count = 80_000
	here, there := newPods(t)
	receiver := there.udp(t, there.v4, otherPort, 5*time.Second)
	sender := here.udp(t, here.v4, 0, time.Second)
	a := here.start(t, fault.Exemption{})
	a.set(20 * time.Millisecond)
	a.freeze()
	datagram := make([]byte, 8)
	for range count {
		send(t, sender, there.v4, otherPort, datagram)
	}
	a.signal(unix.SIGCONT)
	for i := range count {
		if _, err := receive(receiver, datagram); err != nil {
			t.Fatalf("datagram %d of %d: %v", i+1, count, err)
		}
	}
	// The next id shows which ones are missing.
	send(t, sender, there.v4, otherPort, datagram)
	if _, err := receive(receiver, datagram); err != nil {
		t.Fatal(err)
	}
	c := a.counters(latency(20 * time.Millisecond))
	if c.Overlimits == 0 || c.Overlimits >= count || c.Dropped != 0 || c.Backlog > 1 {
		t.Errorf("counters %+v after %d packets, of which some had to pass undelayed", c, count)
	}
}
