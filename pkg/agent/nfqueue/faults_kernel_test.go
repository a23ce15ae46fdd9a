//go:build linux && kernel

package nfqueue

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// more gives a pod another address.
func (p pod) more(t testing.TB, last int) netip.Addr {
	t.Helper()
	addr := netip.AddrFrom4([4]byte{10, 99, 0, byte(last)})
	p.ip(t, "addr", "add", addr.String()+"/24", "dev", device)
	return addr
}

// Every peer has a delay of its own, and one that no fault names has none.
func TestKernelTwelveFaultsAtOnce(t *testing.T) {
	here, there := newPods(t)
	bystander := there.v4
	there.echo(t, bystander)
	var faults []api.Fault
	delays := make(map[netip.Addr]time.Duration)
	for i := range 12 {
		peer, delay := there.more(t, 16+i), time.Duration(2+i)*time.Millisecond
		there.echo(t, peer)
		delays[peer] = delay
		faults = append(faults, api.Fault{
			Name: fmt.Sprintf("to-%d", i), Peers: []string{peer.String()}, Delay: fault.FormatDelay(delay),
		})
	}
	a := here.start(t, fault.Exemption{})
	for range 2 {
		a.apply(faults...)
		for peer, delay := range delays {
			someWithin(t, here, peer, delay)
		}
		someWithin(t, here, bystander, 0)
		if state := a.state(faults...); len(state.Found) != len(faults) || len(state.Drift) > 0 {
			t.Errorf("%d of %d faults are held: %v", len(state.Found), len(faults), state.Drift)
		}
		slices.Reverse(faults)
	}
	a.apply()
	for peer := range delays {
		someWithin(t, here, peer, 0)
	}
}

// someWithin is a short medianWithin.
func someWithin(t *testing.T, p pod, to netip.Addr, delay time.Duration) {
	t.Helper()
	const count = 11
	var times []time.Duration
	for range series {
		times = p.roundTrips(t, p.v4, to, count)
		if times[0] < delay {
			break
		}
		if quantile(times, 0.5) < delay+tolerance {
			return
		}
	}
	t.Errorf("round trips to %v take %v under a delay of %v", to, times, delay)
}

func TestKernelDirections(t *testing.T) {
	here, there := newPods(t)
	a := here.start(t, fault.Exemption{})
	for _, path := range []struct{ from, to netip.Addr }{{here.v4, there.v4}, {here.v6, there.v6}} {
		there.echo(t, path.to)
		for direction, delay := range map[string]time.Duration{"ingress": 5 * time.Millisecond, "both": 10 * time.Millisecond} {
			f := latency(5 * time.Millisecond)
			f.Direction = direction
			a.apply(f)
			medianWithin(t, here, path.from, path.to, delay)
			if c := a.counters(f); c.Packets == 0 || c.Dropped+c.Overlimits > 0 {
				t.Errorf("%s: counters %+v", direction, c)
			}
		}
		a.apply()
		medianWithin(t, here, path.from, path.to, 0)
	}
	ingress := latency(20 * time.Millisecond)
	ingress.Direction = "ingress"
	a.apply(ingress)
	fastStream(t, here, there, there.v4) // the acknowledgements are late
	l := here.listen(t, here.v4, 0)
	if rate := there.stream(t, l, 2*time.Second); rate < 200e6 {
		t.Errorf("one TCP stream that arrives carries %.0f Mbit/s", rate/1e6)
	}
}

// connects reports whether a TCP connection comes about within a moment.
func (p pod) connects(t testing.TB, l net.Listener) bool {
	t.Helper()
	ok := false
	p.in(t, func() {
		c, err := net.DialTimeout("tcp", l.Addr().String(), 300*time.Millisecond)
		if err == nil {
			ok = true
			_ = c.Close()
		}
	})
	return ok
}

// pings reports whether any of three pings is answered.
func (p pod) pings(t testing.TB, to netip.Addr) bool {
	t.Helper()
	out := p.exec(t, "bash", "-c", "ping -c 3 -i 0.05 -W 1 -w 1 "+to.String()+" || true")
	return pingTime.MatchString(out)
}

func TestKernelPartition(t *testing.T) {
	here, there := newPods(t)
	bystander := there.more(t, 3)
	open, other := there.listen(t, there.v4, 5001), there.listen(t, bystander, 5001)
	back := here.listen(t, here.v4, 5001)
	established, _ := here.dial(t, open)
	a := here.start(t, fault.Exemption{})
	for _, direction := range []string{"egress", "ingress", "both"} {
		cut := api.Fault{Name: "cut", Direction: direction, Peers: []string{there.v4.String()}, Partition: true}
		a.apply(cut)
		if here.connects(t, open) || there.connects(t, back) || here.pings(t, there.v4) {
			t.Errorf("%s: something passes", direction)
		}
		if !here.connects(t, other) || !here.pings(t, bystander) {
			t.Errorf("%s: the bystander is cut off", direction)
		}
		// A sender is not told: it would be by an error here.
		if _, err := established.Write([]byte("into the void")); err != nil {
			t.Errorf("%s: the sender is told: %v", direction, err)
		}
		c := a.counters(cut)
		if c.Packets == 0 || c.Dropped != c.Packets || c.Backlog != 0 {
			t.Errorf("%s: counters %+v", direction, c)
		}
	}
	a.kill()
	if !here.connects(t, open) || !here.pings(t, there.v4) {
		t.Error("the partition outlives its agent")
	}
	a = here.start(t, fault.Exemption{})
	a.apply()
	if !here.connects(t, open) {
		t.Error("the partition outlives its end")
	}
}
