//go:build linux && kernel

package nfqueue

import (
	"encoding/binary"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// squat reads a queue of the pod, as somebody else's program might, until it
// is told to stop.
func (p pod) squat(t *testing.T, queue uint16) (leave func()) {
	t.Helper()
	var s *socket
	var err error
	p.in(t, func() {
		if s, err = openSocket(); err == nil {
			err = s.request(bind(queue, 0, false))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}
}

// Whatever the kernel refuses, and however late, the faults of before stay: with
// their rules, their counters and what waits.
func TestKernelRollBack(t *testing.T) {
	here, there := newPods(t)
	there.echo(t, there.v4)
	receiver, sender := there.udp(t, there.v4, otherPort, time.Second), here.udp(t, here.v4, 0, time.Second)
	steady := latency(10 * time.Millisecond)
	changing := api.Fault{Name: "changing", Ports: &api.Ports{Remote: []api.PortRange{{First: otherPort, Last: otherPort}}}, Delay: "2s"}
	wanted := []api.Fault{
		latency(50 * time.Millisecond),
		{Name: "changing", Ports: changing.Ports, Partition: true},
		{Name: "new", Peers: []string{"10.99.0.77"}, Delay: "1ms"},
		{Name: "arriving", Direction: "ingress", Delay: "1ms"},
	}
	for name, c := range map[string]struct {
		queue  uint16 // that cannot be had
		before []api.Fault
	}{
		"a third queue of egress":   {2342, []api.Fault{steady, changing}},
		"the first of ingress":      {2360, []api.Fault{steady, changing}},
		"with nothing there before": {2341, nil},
		"the queue that swallows":   {2333, nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := here.start(t, fault.Exemption{})
			defer a.stop()
			leave := here.squat(t, c.queue)
			a.apply(c.before...)
			before := here.ruleset(t)
			if c.before != nil {
				send(t, sender, there.v4, otherPort, []byte("waits"))
			}
			if err := a.tryApply(wanted...); err == nil || strings.Contains(err.Error(), "roll back") {
				t.Fatalf("apply: %v", err)
			}
			if diff := cmp.Diff(before, here.ruleset(t)); diff != "" {
				t.Errorf("rules (-before +after)\n%s", diff)
			}
			state := a.state(c.before...)
			if len(state.Found) != len(c.before) || len(state.Drift) > 0 {
				t.Errorf("after the failure %+v", state)
			}
			if c.before == nil {
				someWithin(t, here, there.v4, 0)
			} else {
				someWithin(t, here, there.v4, 10*time.Millisecond)
				if got, err := receive(receiver, make([]byte, 16)); err == nil {
					t.Errorf("%d bytes left before they were due", got)
				}
			}
			leave()
			a.apply(wanted...)
			if state := a.state(wanted...); len(state.Found) != len(wanted) || len(state.Drift) > 0 {
				t.Errorf("once nothing is in the way %+v", state)
			}
			a.apply()
			if c.before != nil {
				if _, err := receive(receiver, make([]byte, 16)); err != nil {
					t.Errorf("what waited is lost: %v", err)
				}
			}
		})
	}
}

// One fault changes again and again while packets meet another: none of those
// is lost, late or out of order.
func TestKernelOthersGoOn(t *testing.T) {
	const count = 20_000
	here, there := newPods(t)
	receiver, sender := there.udp(t, there.v4, echoPort, time.Second), here.udp(t, here.v4, 0, time.Second)
	a := here.start(t, fault.Exemption{})
	steady := api.Fault{Name: "steady", Peers: []string{there.v4.String()}, Delay: "20ms"}
	a.apply(steady)
	stop, changes := make(chan struct{}), make(chan int, 1)
	go func() {
		n := 0
		defer func() { changes <- n }()
		for ; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			other := api.Fault{Name: "other", Peers: []string{"10.99.0.77"}, Delay: strconv.Itoa(n%7+1) + "ms"}
			set := [][]api.Fault{{steady, other}, {steady}, {other, steady, {Name: "loss", Direction: "both", Protocol: "icmp", Loss: &api.Loss{Percent: 5}}}}[n%3]
			if err := a.tryApply(set...); err != nil {
				t.Errorf("change %d: %v", n, err)
				return
			}
		}
	}()
	go func() {
		for i := range uint32(count) {
			_ = unix.Sendto(sender, binary.BigEndian.AppendUint32(nil, i), 0, sockaddr(there.v4, echoPort))
			if i%100 == 99 {
				<-time.After(10 * time.Millisecond)
			}
		}
	}()
	buffer := make([]byte, 4)
	for want := range uint32(count) {
		if _, err := receive(receiver, buffer); err != nil {
			t.Fatalf("datagram %d: %v", want, err)
		}
		if got := binary.BigEndian.Uint32(buffer); got != want {
			t.Fatalf("datagram %d came in the place of %d", got, want)
		}
	}
	close(stop)
	if n := <-changes; n < 20 {
		t.Errorf("only %d changes were made meanwhile", n)
	}
	if c := a.counters(steady); c.Packets != count || c.Dropped+c.Overlimits > 0 {
		t.Errorf("counters %+v after %d packets", c, count)
	}
}

// About the largest set there can be: two thousand rules in one transaction.
func TestKernelMostRules(t *testing.T) {
	here, there := newPods(t)
	there.echo(t, there.v4)
	a := here.start(t, fault.Exemption{})
	var faults []api.Fault
	for i := range fault.MaxFaults {
		f := api.Fault{Name: fmt.Sprintf("f%d", i), Direction: "both", Protocol: "tcp", Delay: "1ms", Ports: &api.Ports{}}
		for n := range 11 {
			f.Peers = append(f.Peers, fmt.Sprintf("10.%d.%d.0/24", 100+i, n))
		}
		for n := range uint16(6) {
			f.Ports.Remote = append(f.Ports.Remote, api.PortRange{First: 100*n + 1, Last: 100*n + 50})
		}
		faults = append(faults, f)
	}
	start := time.Now()
	a.apply(faults...)
	t.Logf("%d rules in %v", strings.Count(here.ruleset(t), "comment"), time.Since(start))
	start = time.Now()
	if state := a.state(faults...); len(state.Found) != len(faults) {
		t.Errorf("%d of %d faults are held: %v", len(state.Found), len(faults), state.Drift)
	}
	t.Logf("read in %v", time.Since(start))
	someWithin(t, here, there.v4, 0)
	a.apply(latency(5 * time.Millisecond))
	someWithin(t, here, there.v4, 5*time.Millisecond)
}

var resident = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// resident is the memory of the agent in MB.
func (a *agent) resident() float64 {
	a.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	if err != nil {
		a.t.Fatal(err)
	}
	match := resident.FindSubmatch(status)
	if match == nil {
		a.t.Fatalf("no VmRSS in\n%s", status)
	}
	kilobytes, err := strconv.Atoi(string(match[1]))
	if err != nil {
		a.t.Fatal(err)
	}
	return float64(kilobytes) / 1024
}

func TestKernelMemory(t *testing.T) {
	const packets, perFault = 50_000, 50_000/12 + 1
	here, there := newPods(t)
	a := here.start(t, fault.Exemption{})
	idle := a.resident()
	if idle > 15 {
		t.Errorf("%.1f MB resident without a fault, want at most 15", idle)
	}
	var faults []api.Fault
	for i := range 12 {
		f := api.Fault{
			Name: fmt.Sprintf("f%d", i), Delay: "600s",
			Ports: &api.Ports{Remote: []api.PortRange{{First: uint16(9000 + i), Last: uint16(9000 + i)}}},
		}
		if i%2 == 0 {
			f.Jitter = "1s"
		}
		faults = append(faults, f)
	}
	a.apply(faults...)
	sender := here.udp(t, here.v4, 0, time.Second)
	for i := range faults {
		for range perFault {
			send(t, sender, there.v4, 9000+i, []byte("waits"))
		}
	}
	waiting := uint64(0)
	for _, f := range faults {
		waiting += a.counters(f).Backlog
	}
	full := a.resident()
	t.Logf("%.1f MB idle, %.1f MB with %d packets waiting", idle, full, waiting)
	if waiting < packets || full > 25 {
		t.Errorf("%.1f MB resident with %d packets waiting, want at most 25 with %d", full, waiting, packets)
	}
	a.apply()
}
