//go:build linux && kernel

package nfqueue

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// squat reads a queue of the pod, as somebody else's program might, until it
// is told to stop.
func (p pod) squat(t *testing.T, queue uint16) (leave func()) {
	t.Helper()
	var s *socket
	err := p.Do(func() (err error) {
		if s, err = openSocket(receiveBuffer); err == nil {
			err = s.request(bind(queue, queueConfig{}))
		}
		return err
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
	there.Echo(t, there.IP)
	const otherPort = 9
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
			var end func() (netlab.Traffic, error)
			if c.before != nil {
				end = udp(here, there, 1, 5*time.Second).Start()
				netlab.Eventually(t, time.Second, "a packet waits", func() error { return a.waiting(changing, 1) })
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
				wantRoundTrips(t, here, there, 0)
			} else {
				wantRoundTrips(t, here, there, 10*time.Millisecond)
				if err := a.waiting(changing, 1); err != nil {
					t.Errorf("a packet left before it was due: %v", err)
				}
			}
			leave()
			a.apply(wanted...)
			if state := a.state(wanted...); len(state.Found) != len(wanted) || len(state.Drift) > 0 {
				t.Errorf("once nothing is in the way %+v", state)
			}
			a.apply()
			if c.before != nil {
				got, err := end()
				if err = errors.Join(err, got.Intact()); err != nil {
					t.Errorf("what waited: %v", err)
				}
			}
		})
	}
}

// Rules take the place of as many others, however many they are.
func TestKernelReplacesManyRules(t *testing.T) {
	here, there := newPods(t)
	there.Echo(t, there.IP)
	a := here.start(t, fault.Exemption{})
	for _, count := range []int{1, maxReturned / 2, maxReturned, maxReturned + 1, 500} {
		for network := range 3 {
			peers := []string{there.v4.String()}
			for i := range count {
				peers = append(peers, fmt.Sprintf("10.%d.%d.%d", network, i/250, i%250+1))
			}
			a.apply(api.Fault{Name: "many", Peers: peers, Delay: "20ms"})
		}
		wantRoundTrips(t, here, there, 20*time.Millisecond)
	}
}

// About the largest set there can be: two thousand rules in one transaction.
func TestKernelMostRules(t *testing.T) {
	here, there := newPods(t)
	there.Echo(t, there.IP)
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
	wantRoundTrips(t, here, there, 0)
	a.apply(latency(5 * time.Millisecond))
	wantRoundTrips(t, here, there, 5*time.Millisecond)
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
	var ends []func() (netlab.Traffic, error)
	for i := range faults {
		f := udp(here, there, perFault, 30*time.Second)
		f.Port = 9000 + i
		ends = append(ends, f.Start())
	}
	waiting := uint64(0)
	netlab.Eventually(t, 20*time.Second, "all packets wait", func() error {
		waiting = 0
		for _, f := range faults {
			waiting += a.counters(f).Backlog
		}
		if waiting < packets {
			return fmt.Errorf("%d of %d", waiting, packets)
		}
		return nil
	})
	full := a.resident()
	t.Logf("%.1f MB idle, %.1f MB with %d packets waiting", idle, full, waiting)
	if full > 25 {
		t.Errorf("%.1f MB resident with %d packets waiting, want at most 25", full, waiting)
	}
	a.apply()
	for _, end := range ends {
		got, err := end()
		if err = errors.Join(err, got.Intact()); err != nil {
			t.Errorf("what waited: %v", err)
		}
	}
}
