//go:build kernel

package netlab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// A cluster's worth of pods, each of which reaches each other.
func TestEightPods(t *testing.T) {
	var specs []Spec
	for i := range 8 {
		specs = append(specs, Spec{Name: fmt.Sprintf("tikv-%d", i), More: 2})
	}
	l := New(t, specs...)
	for i, to := range l.Pods {
		from := l.Pods[(i+1)%len(l.Pods)]
		for _, ip := range append([]string{to.IP, to.IP6}, append(to.More, to.More6...)...) {
			if p := from.Ping(t, ip, 1, time.Second); p.Received != 1 || p.Median() <= 0 || p.Mean != p.Least || p.Least != p.Most {
				t.Errorf("%s pings %s of %s: %+v", from.Name, ip, to.Name, p)
			}
		}
	}
	if a, b := l.Pod("tikv-0"), l.Pod("tikv-7"); a.More[0] == b.More[0] || a.IP == b.IP {
		t.Errorf("%+v and %+v share an address", a, b)
	}
	if _, err := Make(make([]Spec, firstMore)...); err == nil {
		t.Error("a lab of more pods than there are numbers")
	}
	if _, err := Make(Spec{Name: "many", More: 250}); err == nil {
		t.Error("a pod of more addresses than there are")
	}
}

// A pod routes for one that is on no bridge, as between zones.
func TestRouter(t *testing.T) {
	l := New(t, Spec{Name: "router"}, Spec{Name: "inside"})
	router, inside, outside := l.Pod("router"), l.Pod("inside"), Apart(t, "outside")
	Connect(t, "far0", router, "10.98.0.1/24", outside, "10.98.0.2/24")
	router.Shell(t, "echo 1 >/proc/sys/net/ipv4/ip_forward")
	outside.Exec(t, "ip route add 10.99.0.0/24 via 10.98.0.1")
	inside.Exec(t, "ip route add 10.98.0.0/24 via "+router.IP)
	outside.Listen(t, "10.98.0.2:4000", Discard)
	if !inside.Connects(t, "10.98.0.2:4000", 2*time.Second) {
		t.Error("no connection through the router")
	}
	if inside.Connects(t, "10.98.0.2:4001", 2*time.Second) || l.Node.Connects(t, "10.98.0.2:4000", 100*time.Millisecond) {
		t.Error("a connection that can't be")
	}
	if state := router.TrafficControl(t, Device); !strings.Contains(state, "far0") || strings.Contains(state, "netem") {
		t.Errorf("the router's state:\n%s", state)
	}
}

// A flow has what is lost, late and delayed, and nothing else.
func TestFlows(t *testing.T) {
	l := New(t, Spec{Name: "a"}, Spec{Name: "b"})
	a, b := l.Pod("a"), l.Pod("b")
	f := Flow{From: a, To: b, Count: 200, Burst: 10, Pace: 2 * time.Millisecond, Settle: time.Second, Brief: true}
	for name, change := range map[string]func(*Flow){
		"IPv4": func(*Flow) {}, "IPv6": func(f *Flow) { f.V6 = true }, "stamped": func(f *Flow) { f.Stamped = true },
		"to the node": func(f *Flow) { f.To = l.Node }, "at once": func(f *Flow) { f.Pace = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			f := f
			change(&f)
			start := time.Now()
			got := f.Run(t)
			if err := got.Ordered(); err != nil || len(got.Arrivals) != 200 {
				t.Errorf("%d arrivals, %v", len(got.Arrivals), err)
			}
			if took := time.Since(start); took > f.Settle {
				t.Errorf("took %s though all had come", took)
			}
			for _, arrival := range got.Arrivals {
				if arrival.Delay < 0 || arrival.Delay > time.Second {
					t.Errorf("datagram %d took %s", arrival.Number, arrival.Delay)
				}
			}
		})
	}
	a.Exec(t, "ip route add blackhole 10.97.0.0/16")
	b.Exec(t, "ip addr add 10.97.0.1/32 dev eth0")
	nowhere := f
	nowhere.Target, nowhere.Settle = "10.97.0.1", 100*time.Millisecond
	if got, err := nowhere.Start()(); err == nil || len(got.Arrivals) != 0 {
		t.Errorf("into a black hole: %d arrivals, %v", len(got.Arrivals), err)
	}
	b.Exec(t, "ip addr del 10.97.0.1/32 dev eth0")
	l.Node.Exec(t, "ip link set port1 down")
	if got := f.Run(t); len(got.Lost()) != 200 {
		t.Errorf("over a link that is down: %d of 200 lost", len(got.Lost()))
	}
}

// What runs in a host runs there and nowhere else.
func TestInside(t *testing.T) {
	l := New(t, Spec{Name: "a"}, Spec{Name: "b", More: 1})
	a, b := l.Pod("a"), l.Pod("b")
	if out := b.Exec(t, "ip -o addr show dev eth0"); !strings.Contains(out, b.IP+"/24") || !strings.Contains(out, b.More6[0]+"/64") {
		t.Errorf("b's addresses: %s", out)
	}
	if _, err := a.Output("ip link show dev " + Bridge); err == nil {
		t.Error("a pod sees the node's bridge")
	}
	if _, err := a.Output("false"); err == nil || !strings.Contains(err.Error(), "false") {
		t.Errorf("a command that fails: %v", err)
	}
	if err := a.Do(func() error { return errors.New("mine") }); err == nil || err.Error() != "mine" {
		t.Errorf("an error inside: %v", err)
	}
	address := b.Listen(t, net.JoinHostPort(b.IP, "0"), Swallow).String()
	if rate := a.StreamRate(t, address, 50*time.Millisecond, 100*time.Millisecond); rate < 1e6 {
		t.Errorf("one TCP stream carries %.0f bit/s", rate)
	}
	b.Echo(t, b.IP6)
	if times := a.RoundTrips(t, b.IP6, 5); len(times) != 5 || Median(times) <= 0 {
		t.Errorf("round trips: %v", times)
	}
	if a.ConnectTime(t, address) <= 0 {
		t.Error("a connection in no time")
	}
	t.Run("the test itself", func(t *testing.T) {
		a.Enter(t)
		if addrs, err := net.InterfaceAddrs(); err != nil || !strings.Contains(fmt.Sprint(addrs), a.IP+"/24") {
			t.Errorf("addresses %v, %v", addrs, err)
		}
	})
	if addrs, err := net.InterfaceAddrs(); err != nil || strings.Contains(fmt.Sprint(addrs), a.IP+"/24") {
		t.Errorf("outside: addresses %v, %v", addrs, err)
	}
}
