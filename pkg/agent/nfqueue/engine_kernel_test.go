//go:build linux && kernel

package nfqueue

import (
	"encoding/binary"
	"io"
	"math"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

const (
	echoPort  = 7
	otherPort = 9
)

// tolerance is how far the median round trip may be from the delay.
const tolerance = time.Millisecond

// series is how often a measurement is taken at most. Other work on the machine
// makes everything late, so the best one counts.
const series = 5

func TestKernelDelay(t *testing.T) {
	here, there := newPods(t)
	a := here.start(t, fault.Exemption{})
	for _, path := range []struct{ from, to netip.Addr }{{here.v4, there.v4}, {here.v6, there.v6}} {
		there.echo(t, path.to)
		for _, delay := range []time.Duration{
			500 * time.Microsecond, 1500 * time.Microsecond, 20 * time.Millisecond, 200 * time.Millisecond,
		} {
			a.set(delay)
			medianWithin(t, here, path.from, path.to, delay)
		}
		a.apply()
		medianWithin(t, here, path.from, path.to, 0)
	}
}

// medianWithin fails unless a round trip takes what the delay says. None may
// ever take less.
func medianWithin(t *testing.T, p pod, from, to netip.Addr, delay time.Duration) {
	t.Helper()
	count := int(min(200, time.Second/max(delay, 1)))
	best := time.Duration(math.MaxInt64)
	for range series {
		times := p.roundTrips(t, from, to, count)
		if times[0] < delay {
			t.Fatalf("round trip to %v takes %v under a delay of %v", to, times[0], delay)
		}
		best = min(best, quantile(times, 0.5))
		t.Logf("%v to %v: shortest +%v, median +%v, p99 +%v", delay, to,
			times[0]-delay, quantile(times, 0.5)-delay, quantile(times, 0.99)-delay)
		if best < delay+tolerance {
			return
		}
	}
	t.Errorf("round trips to %v take %v under a delay of %v", to, best, delay)
}

func TestKernelPing(t *testing.T) {
	here, there := newPods(t)
	a := here.start(t, fault.Exemption{})
	a.set(20 * time.Millisecond)
	for _, to := range []netip.Addr{there.v4, there.v6} {
		pingWithin(t, here, to, 20*time.Millisecond)
	}
	// What comes in and only its answer leaves is delayed just as much.
	out := there.exec(t, "ping", "-c", "1", here.v4.String())
	if got := pingTimes(t, out)[0]; got < 20*time.Millisecond {
		t.Errorf("ping from the other side takes %v\n%s", got, out)
	}
}

// pingWithin is medianWithin for ping.
func pingWithin(t *testing.T, p pod, to netip.Addr, delay time.Duration) {
	t.Helper()
	var out string
	for range series {
		out = p.exec(t, "ping", "-i", "0.05", "-c", "21", to.String())
		times := pingTimes(t, out)
		if times[0] < delay {
			break
		}
		if quantile(times, 0.5) < delay+tolerance {
			return
		}
	}
	t.Errorf("want a median of %v\n%s", delay, out)
}

var pingTime = regexp.MustCompile(`time=([0-9.]+) ms`)

// pingTimes returns the sorted times in the output of ping.
func pingTimes(t *testing.T, out string) []time.Duration {
	t.Helper()
	var times []time.Duration
	for _, match := range pingTime.FindAllStringSubmatch(out, -1) {
		ms, err := strconv.ParseFloat(match[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, time.Duration(ms*float64(time.Millisecond)))
	}
	if len(times) == 0 {
		t.Fatalf("no times in\n%s", out)
	}
	slices.Sort(times)
	return times
}

func TestKernelChangesLoseNoPing(t *testing.T) {
	for name, change := range map[string]func(a *agent, i int) *agent{
		"replace": func(a *agent, i int) *agent {
			a.set([]time.Duration{50 * time.Millisecond, 20 * time.Millisecond}[i%2])
			return a
		},
		"set and clear": func(a *agent, i int) *agent {
			if i%2 == 0 {
				a.set(20 * time.Millisecond)
			} else {
				a.apply()
			}
			return a
		},
		"restart": func(a *agent, i int) *agent {
			if i%2 == 0 {
				a.set(20 * time.Millisecond)
				return a
			}
			a.stop()
			return a.pod.start(a.t, fault.Exemption{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := newPods(t)
			a := here.start(t, fault.Exemption{})
			done := make(chan string)
			go func() {
				ping := exec.Command("ip", "netns", "exec", here.name, "ping", "-i", "0.002", "-c", "500", there.v4.String())
				out, _ := ping.CombinedOutput() // what it says counts
				done <- string(out)
			}()
			next := time.NewTicker(20 * time.Millisecond)
			defer next.Stop()
			for i := 0; ; i++ {
				select {
				case <-next.C:
					a = change(a, i)
				case out := <-done:
					if !strings.Contains(out, " 0% packet loss") || strings.Contains(out, "duplicates") {
						t.Errorf("ping lost or doubled packets in %d changes\n%s", i, out)
					}
					return
				}
			}
		})
	}
}

func TestKernelKeepsOrder(t *testing.T) {
	const count = 20_000
	here, there := newPods(t)
	a := here.start(t, fault.Exemption{})
	receiver := there.udp(t, there.v4, echoPort, time.Second)
	sender := here.udp(t, here.v4, 0, time.Second)
	a.set(50 * time.Millisecond)
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		for i := range uint32(count) {
			if err := unix.Sendto(sender, binary.BigEndian.AppendUint32(nil, i), 0, sockaddr(there.v4, echoPort)); err != nil {
				failed <- err
				return
			}
		}
	}()
	buffer := make([]byte, 4)
	for want := range uint32(count) {
		if want == count/2 {
			a.set(20 * time.Millisecond)
		}
		if _, err := receive(receiver, buffer); err != nil {
			t.Fatalf("datagram %d: %v; sender: %v", want, err, <-failed)
		}
		if got := binary.BigEndian.Uint32(buffer); got != want {
			t.Fatalf("datagram %d came in the place of %d", got, want)
		}
	}
	if early := a.counters(latency(20 * time.Millisecond)).Overlimits; early > 0 {
		t.Errorf("%d packets left early", early)
	}
}

// Small queues would reduce a stream of gigabits to 2 Mbit/s.
func TestKernelStream(t *testing.T) {
	here, there := newPods(t)
	a := here.start(t, fault.Exemption{})
	a.set(20 * time.Millisecond)
	for _, to := range []netip.Addr{there.v4, there.v6} {
		fastStream(t, here, there, to)
	}
	if c := a.counters(latency(20 * time.Millisecond)); c.Dropped+c.Overlimits > 0 {
		t.Errorf("packets were not delayed: %+v", c)
	}
}

// fastStream fails unless one TCP stream carries at least 200 Mbit/s.
func fastStream(t *testing.T, from, to pod, addr netip.Addr) {
	t.Helper()
	const want = 200e6
	var rate float64
	for range series {
		rate = from.stream(t, to.listen(t, addr, 0), 2*time.Second)
		t.Logf("%.0f Mbit/s to %v", rate/1e6, addr)
		if rate >= want {
			return
		}
	}
	t.Errorf("one TCP stream to %v carries %.0f Mbit/s, want %.0f", addr, rate/1e6, want/1e6)
}

// A connection's packets all leave, each once and all late, also when it is
// tracked and its addresses are translated.
func TestKernelConnection(t *testing.T) {
	const delay = 100 * time.Millisecond
	for name, rules := range map[string]string{
		"plain": "",
		"translated": `table ip theirs {
			chain translate { type nat hook postrouting priority srcnat; snat to 10.99.0.3; }
			chain out { type filter hook output priority filter; ct state invalid drop; }
			chain in { type filter hook input priority filter; ct state != established drop; }
		}`,
	} {
		t.Run(name, func(t *testing.T) {
			here, there := newPods(t)
			here.ip(t, "addr", "add", "10.99.0.3/24", "dev", device)
			if rules != "" {
				here.exec(t, "nft", rules)
			}
			a := here.start(t, fault.Exemption{})
			a.set(delay)
			l := there.listen(t, there.v4, 5001)
			go echoAll(l)
			c, took := here.dial(t, l)
			if took < delay || took > delay+50*time.Millisecond {
				t.Errorf("connect takes %v under a delay of %v", took, delay)
			}
			const rounds = 5
			start := time.Now()
			for range rounds {
				if _, err := c.Write([]byte("hello")); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(start); took < rounds*delay || took > rounds*(delay+50*time.Millisecond) {
				t.Errorf("%d round trips take %v under a delay of %v", rounds, took, delay)
			}
			if out := here.exec(t, "nstat", "-asz", "TcpRetransSegs"); !regexp.MustCompile(`TcpRetransSegs +0 `).MatchString(out) {
				t.Errorf("segments were sent again\n%s", out)
			}
			a.set(20 * time.Millisecond)
			fastStream(t, here, there, there.v4)
		})
	}
}

func echoAll(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(c, c) }()
	}
}

func TestKernelNeverTouched(t *testing.T) {
	const normal = 500 * time.Millisecond
	here, there := newPods(t)
	a := here.start(t, fault.Exemption{NodeAddrs: []netip.Addr{there.v4, there.v6}, ProbePorts: []uint16{20180}})
	a.set(2 * time.Second)
	for name, c := range map[string]struct {
		from, to pod
		addr     netip.Addr
		port     int
		touched  bool
	}{
		"control port of the pod":            {there, here, here.v4, api.Port, false},
		"control port of the pod, v6":        {there, here, here.v6, api.Port, false},
		"control port of another pod":        {here, there, there.v4, api.Port, false},
		"loopback":                           {here, here, here.v4, 4000, false},
		"probed port from the node":          {there, here, here.v4, 20180, false},
		"probed port from the node, v6":      {there, here, here.v6, 20180, false},
		"another port from the node":         {there, here, here.v4, 20160, true},
		"the node's port of the same number": {here, there, there.v4, 20180, true},
	} {
		t.Run(name, func(t *testing.T) {
			// Neither ARP nor neighbour discovery may wait.
			here.ip(t, "neigh", "flush", "dev", device)
			l := c.to.listen(t, c.addr, c.port)
			_, took := c.from.dial(t, l)
			if touched := took > normal; touched != c.touched {
				t.Errorf("connect takes %v under a delay of 2s", took)
			}
		})
	}
}
