package explain_test

import (
	"strings"
	"testing"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/explain"
	"github.com/tidelay/tidelay/pkg/fault"
)

func parse(t *testing.T, f api.Fault) fault.Fault {
	t.Helper()
	f.Name = "a"
	got, err := fault.Parse(f, fault.Limits{Devices: []string{"eth1"}})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestMeaning(t *testing.T) {
	for want, f := range map[string]api.Fault{
		"every packet that leaves eth0 is 20ms late, one way; ping and one TCP connect": {Delay: "20ms"},
		"every TCP packet that leaves or arrives at eth0 with the peer 10.0.0.1 or 10.1.0.0/16 with the remote port 20160 is lost with a chance of 5%": {
			Direction: "both", Protocol: "tcp", Peers: []string{"10.0.0.1", "10.1.0.0/16"},
			Ports: &api.Ports{Remote: []api.PortRange{{First: 20160, Last: 20160}}}, Loss: &api.Loss{Percent: 5},
		},
		"every packet that arrives at eth0 is dropped":                                 {Direction: "ingress", Partition: true},
		"every packet that leaves eth1 is dropped":                                     {Device: "eth1", Partition: true},
		"every packet that leaves eth0 shares a link of 10mbit per second":             {Rate: &api.Rate{PerSecond: "10mbit"}},
		"is 20ms late, one way, ±5ms (pareto)":                                         {Delay: "20ms", Jitter: "5ms", Distribution: "pareto"},
		"goes at once, ahead of others, with a chance of 25%, one packet in 5":         {Delay: "1ms", Reorder: &api.Reorder{Percent: 25, Gap: 5}},
		"is sent twice with a chance of 1%, has a bit flipped with a chance of 0.001%": {Duplicate: &api.Chance{Percent: 1}, Corrupt: &api.Chance{Percent: 0.001}},
		"with the peer 10.0.0.1 or 10.0.0.2 or 10.0.0.3 or 10.0.0.4 or 1 more is":      {Peers: []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"}, Delay: "1ms"},
	} {
		if got := explain.Meaning(parse(t, f), api.EngineNFQueue, []string{"eth0"}); !strings.Contains(got, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// The kernel's netem accepts a correlation of the jitter and does nothing with
// it.
func TestMeaningSaysWhatHasNoEffect(t *testing.T) {
	f := parse(t, api.Fault{Delay: "20ms", Jitter: "5ms", Correlation: 25})
	for engine, want := range map[string]bool{api.EngineNetem: true, api.EngineNFQueue: false} {
		if got := explain.Meaning(f, engine, []string{"eth0"}); strings.Contains(got, "has no effect") != want {
			t.Errorf("%s: %s", engine, got)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for want, f := range map[string]api.Fault{
		"+20ms":      {Delay: "20ms"},
		"+20ms±5ms":  {Delay: "20ms", Jitter: "5ms"},
		"+40ms±10ms": {Delay: "20ms", Jitter: "5ms", Direction: "both"},
		"+20m0s":     {Delay: "600s", Direction: "both"},
		"":           {Partition: true},
		"+1.5ms±1ms": {Delay: "1.5ms", Jitter: "1ms", Direction: "ingress"},
	} {
		if got := explain.RoundTrip(parse(t, f)); got != want {
			t.Errorf("%+v: RTT %q, want %q", f, got, want)
		}
	}
}

func TestWarnings(t *testing.T) {
	delay, rate := parse(t, api.Fault{Delay: "1ms"}), parse(t, api.Fault{Rate: &api.Rate{PerSecond: "1mbit"}})
	counted := func(c api.Counters) map[string][]fault.Instance {
		return map[string][]fault.Instance{"a": {{Counters: c}, {Counters: c}}}
	}
	for name, c := range map[string]struct {
		start   string
		desired []fault.Fault
		found   fault.State
		want    []string
	}{
		"nothing":               {},
		"the start":             {start: "damaged", want: []string{"damaged"}},
		"as desired":            {desired: []fault.Fault{delay}, found: fault.State{Found: counted(api.Counters{Packets: 5})}},
		"missing":               {desired: []fault.Fault{delay}, found: fault.State{Drift: []string{"no qdisc"}}, want: []string{`fault "a" is wanted but the kernel does not hold it (no qdisc)`}},
		"drift beside":          {desired: []fault.Fault{delay}, found: fault.State{Found: counted(api.Counters{}), Drift: []string{"a filter"}}, want: []string{"a filter"}},
		"drift without a fault": {start: "damaged", found: fault.State{Drift: []string{"a qdisc"}}, want: []string{"damaged", "a qdisc"}},
		"a full queue":          {desired: []fault.Fault{delay}, found: fault.State{Found: counted(api.Counters{Dropped: 2})}, want: []string{"4 packets were dropped though no loss"}},
		"a link drops":          {desired: []fault.Fault{rate}, found: fault.State{Found: counted(api.Counters{Dropped: 2})}},
		"a missing interface":   {desired: []fault.Fault{delay}, found: fault.State{Missing: []string{"net1"}, Waiting: []string{"a"}}, want: []string{"interface net1 is missing", `fault "a" waits for its interface`}},
		"missing beside drift":  {desired: []fault.Fault{delay}, found: fault.State{Found: counted(api.Counters{}), Missing: []string{"net1"}, Drift: []string{"a filter"}}, want: []string{"interface net1 is missing", "a filter"}},
		"packets left early":    {desired: []fault.Fault{delay}, found: fault.State{Found: counted(api.Counters{Overlimits: 1})}, want: []string{"2 packets left before they were due"}},
	} {
		got := explain.Warnings(c.start, c.desired, c.found, false)
		if got == nil || len(got) != len(c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], c.want[i]) {
				t.Errorf("%s: %q, want %q", name, got[i], c.want[i])
			}
		}
	}
}

func TestWaiting(t *testing.T) {
	devices := []api.Device{{Name: "eth0", Index: 2}, {Name: "eth1", Missing: true}, {Name: "eth2", Missing: true}}
	for device, want := range map[string]string{
		"": "; missing now, and waited for: eth1, eth2", "eth1": "; missing now, and waited for: eth1", "eth0": "",
	} {
		f := fault.Fault{Match: fault.Match{Device: device}}
		if got := explain.Waiting(f, devices); got != want {
			t.Errorf("on %q: %q, want %q", device, got, want)
		}
	}
}

func TestMeaningOfARate(t *testing.T) {
	const words = "; each interface is a link of its own"
	f := fault.Fault{Match: fault.Match{Direction: fault.Egress}, Impairment: fault.Impairment{Rate: &fault.Rate{BitsPerSecond: 10_000_000}}}
	if got := explain.Meaning(f, api.EngineNetem, []string{"eth0", "net1"}); !strings.HasSuffix(got, words) {
		t.Errorf("on two interfaces: %s", got)
	}
	for device, devices := range map[string][]string{"": {"eth0"}, "net1": {"eth0", "net1"}} {
		f.Match.Device = device
		if got := explain.Meaning(f, api.EngineNetem, devices); strings.Contains(got, words) {
			t.Errorf("on one interface: %s", got)
		}
	}
}
