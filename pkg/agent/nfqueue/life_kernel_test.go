//go:build linux && kernel

package nfqueue

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/fault"
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
	if diff := cmp.Diff(fault.State{}, a.state()); diff != "" {
		t.Errorf("without a fault (-want +got)\n%s", diff)
	}
	const count = 10
	a.set(5 * time.Millisecond)
	here.roundTrips(t, here.v4, there.v4, count)
	a.set(5 * time.Millisecond) // changes nothing, counts on
	state := a.state()
	want := &fault.Fault{Name: "latency", Delay: 5 * time.Millisecond}
	if diff := cmp.Diff(want, state.Fault); diff != "" {
		t.Errorf("fault (-want +got)\n%s", diff)
	}
	// Datagrams of 8 bytes with their headers, and what IPv6 says by itself.
	if c := state.Counters; c.Packets < count || c.Bytes < count*(8+8+20) || c.Dropped != 0 || c.Overlimits != 0 || c.Backlog > 1 {
		t.Errorf("counters %+v after %d packets", c, count)
	}
	if rules := here.ruleset(t); strings.Count(rules, `comment "tidelay latency delay=5ms"`) != 2 {
		t.Errorf("people don't find the fault in\n%s", rules)
	}
	a.clear()
	a.clear()
	if diff := cmp.Diff(fault.State{}, a.state()); diff != "" {
		t.Errorf("after clear (-want +got)\n%s", diff)
	}
	if rules := here.ruleset(t); rules != "" {
		t.Errorf("clear leaves\n%s", rules)
	}
	untouched(t, here, there)
}

func TestKernelClearReleasesWhatWaits(t *testing.T) {
	here, there := newPods(t)
	receiver := there.udp(t, there.v4, otherPort, time.Second)
	sender := here.udp(t, here.v4, 0, time.Second)
	a := here.start(t, fault.Exemption{})
	a.set(10 * time.Minute)
	const count = 100
	for i := range byte(count) {
		send(t, sender, there.v4, otherPort, []byte{i})
	}
	if waiting := a.state().Counters.Backlog; waiting < count {
		t.Errorf("%d packets wait, want at least %d", waiting, count)
	}
	a.clear()
	buffer := make([]byte, 1)
	for i := range byte(count) {
		if _, err := receive(receiver, buffer); err != nil {
			t.Fatalf("datagram %d: %v", i, err)
		}
		if buffer[0] != i {
			t.Fatalf("datagram %d came in the place of %d", buffer[0], i)
		}
	}
	// The deadlines of before are forgotten too.
	there.echo(t, there.v4)
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
	if diff := cmp.Diff(fault.State{}, a.state()); diff != "" {
		t.Errorf("without rules (-want +got)\n%s", diff)
	}
	untouched(t, here, there)
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
	if f := a.state().Fault; f == nil || f.Delay != 20*time.Millisecond {
		t.Fatalf("the agent finds %v", f)
	}
	if after := here.ruleset(t); after == before || !strings.Contains(after, "tcp sport 20180") {
		t.Errorf("the new exemption is not in force in\n%s", after)
	}
	if shortest := here.roundTrips(t, here.v4, there.v4, 20)[0]; shortest < 20*time.Millisecond {
		t.Errorf("round trip %v under a delay of 20ms that was adopted", shortest)
	}
	a.clear()
	untouched(t, here, there)
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
	if rules := here.ruleset(t); !strings.Contains(rules, "delay=10m0s") {
		t.Errorf("the fault is gone from\n%s", rules)
	}
}

func TestKernelForeignTable(t *testing.T) {
	for name, foreign := range map[string]string{
		"a table":             "add table ip tidelay",
		"an IPv6 table":       "add table ip6 tidelay",
		"a chain":             "table ip tidelay { chain postrouting { type filter hook postrouting priority 0; }; }",
		"a rule in our chain": "table ip tidelay { chain postrouting { type filter hook postrouting priority 110; counter; }; }",
	} {
		t.Run(name, func(t *testing.T) {
			here, there := newPods(t)
			there.echo(t, there.v4)
			here.exec(t, "nft", foreign)
			before := here.ruleset(t)
			a := here.start(t, fault.Exemption{})
			if err := a.trySet(20 * time.Millisecond); err == nil || !strings.Contains(err.Error(), fault.ErrForeign.Error()) {
				t.Errorf("set: %v, want %v", err, fault.ErrForeign)
			}
			if diff := cmp.Diff(before, here.ruleset(t)); diff != "" {
				t.Errorf("rules were changed (-before +after)\n%s", diff)
			}
			untouched(t, here, there)
		})
	}
}

func TestKernelSecondAgent(t *testing.T) {
	here, _ := newPods(t)
	a := here.start(t, fault.Exemption{})
	a.set(20 * time.Millisecond)
	second := here.as(t, roleAgent, onlyNetAdmin)
	second.Env = append(second.Env, envExempt+"={}")
	if out, err := second.CombinedOutput(); err == nil || !bytes.Contains(out, []byte(fault.ErrForeign.Error())) {
		t.Errorf("a second agent: %v\n%s", err, out)
	}
	if f := a.state().Fault; f == nil {
		t.Error("the second agent ended the fault of the first")
	}
}

func TestKernelProbe(t *testing.T) {
	here, _ := newPods(t)
	for name, c := range map[string]struct{ capabilities, want string }{
		"with NET_ADMIN":    {onlyNetAdmin, ""},
		"without NET_ADMIN": {"-net_admin", "NET_ADMIN"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := here.as(t, roleProbe, c.capabilities).CombinedOutput()
			if (err != nil) != (c.want != "") || !strings.Contains(string(out), c.want) {
				t.Errorf("probe: %v, %q; want %q", err, out, c.want)
			}
			if rules := here.ruleset(t); rules != "" {
				t.Errorf("probe leaves\n%s", rules)
			}
		})
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
	c := a.state().Counters
	if c.Overlimits == 0 || c.Overlimits >= count || c.Dropped != 0 || c.Backlog > 1 {
		t.Errorf("counters %+v after %d packets, of which some had to pass undelayed", c, count)
	}
}
