package measure_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/measure"
	"github.com/tidelay/tidelay/pkg/fault"
)

func target(t *testing.T, s string) measure.Target {
	t.Helper()
	got, err := measure.ParseTarget(s)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestAddedRTT(t *testing.T) {
	faults, err := fault.ParseSet([]api.Fault{
		{Name: "all", Direction: "both", Delay: "10ms"},
		{Name: "peer", Peers: []string{"10.0.0.5"}, Delay: "20ms"},
		{Name: "port", Peers: []string{"10.0.0.5"}, Ports: &api.Ports{Remote: []api.PortRange{{First: 20160, Last: 20160}}}, Loss: &api.Loss{Percent: 1}},
		{Name: "other-device", Direction: "both", Device: "eth1", Peers: []string{"10.0.0.6"}, Delay: "1s"},
	}, fault.Limits{Devices: []string{"eth0", "eth1"}})
	if err != nil {
		t.Fatal(err)
	}
	for peer, want := range map[string]time.Duration{
		"10.0.0.7":       20 * time.Millisecond, // all, both ways
		"10.0.0.5":       30 * time.Millisecond, // peer one way, all the other way
		"10.0.0.5:20160": 10 * time.Millisecond, // port delays nothing
		"10.0.0.6":       20 * time.Millisecond,
		"10.0.0.7:2332":  0, // the control port
		"10.0.0.7:2333":  20 * time.Millisecond,
	} {
		if got := measure.AddedRTT(faults, target(t, peer), "eth0", fault.Exemption{ControlPort: 2332}); got != want {
			t.Errorf("%s: %s, want %s", peer, got, want)
		}
	}
}

func TestVerifyPlan(t *testing.T) {
	peer := target(t, "10.0.0.5")
	for longest, samples := range map[time.Duration]int{0: 10, time.Second: 10, 2 * time.Second: 6, 5 * time.Second: 3} {
		p, err := measure.VerifyPlan(peer, longest)
		if err != nil || p.Count != samples || p.Timeout <= longest || len(p.Targets) != 1 || p.Targets[0] != peer {
			t.Errorf("RTT %s: %+v, %v; want %d samples", longest, p, err, samples)
		}
		if both := 2 * p.Time(); both > 65*time.Second {
			t.Errorf("RTT %s: both measurements take up to %s", longest, both)
		}
	}
	if p, err := measure.VerifyPlan(peer, 5*time.Second+1); err == nil || !strings.Contains(err.Error(), "at most 5s") {
		t.Errorf("an RTT beyond 5s: %+v, %v", p, err)
	}
}

func TestCompare(t *testing.T) {
	median := func(ms float64) api.Measurement {
		return api.Measurement{Target: "10.0.0.5", Sent: 3, Received: 3, Median: &ms}
	}
	for name, c := range map[string]struct {
		before, after float64
		asked         time.Duration
		want          string
	}{
		"exactly":                    {1, 21, 20 * time.Millisecond, "agrees with the +20.000 ms"},
		"within 2 ms":                {1, 22.9, 20 * time.Millisecond, "agrees with"},
		"beyond 2 ms":                {1, 23.1, 20 * time.Millisecond, "DIFFERS from"},
		"within a twentieth":         {0, 1049, time.Second, "agrees with"},
		"beyond a twentieth":         {0, 1051, time.Second, "DIFFERS from"},
		"less than before":           {21, 1, -20 * time.Millisecond, "agrees with the -20.000 ms"},
		"nothing asked, nothing had": {1, 1, 0, "agrees with"},
	} {
		v := measure.Compare(median(c.before), median(c.after), c.asked)
		if v.MeasuredRTT == nil || *v.MeasuredRTT != c.after-c.before || !strings.Contains(v.Verdict, c.want) {
			t.Errorf("%s: %+v, want %q", name, v, c.want)
		}
	}
	v := measure.Compare(median(1), api.Measurement{Sent: 3}, 20*time.Millisecond)
	if v.MeasuredRTT != nil || v.AskedRTT != 20 || !strings.Contains(v.Verdict, "no verdict: 3 of 3 samples were answered before and 0 of 3 after") {
		t.Errorf("no answer: %+v", v)
	}
}
