package verify_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/measure"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

func at(name string, component tidbcluster.Component, addrs ...string) *verify.Pod {
	p := &verify.Pod{Name: name, Component: component, Agent: verify.Holds}
	for _, a := range addrs {
		p.Addrs = append(p.Addrs, netip.MustParseAddr(a))
	}
	return p
}

// egress has a pod delay what it sends to a peer, to some ports only if there are any.
func egress(p *verify.Pod, peer string, i fault.Impairment, ports ...uint16) {
	f := fault.Fault{Name: "slow", Match: fault.Match{Direction: fault.Egress, Peers: []netip.Prefix{netip.MustParsePrefix(peer)}}, Impairment: i}
	for _, port := range ports {
		f.Match.RemotePorts = append(f.Match.RemotePorts, api.PortRange{First: port, Last: port})
		f.Match.Protocol = fault.ProtocolTCP
	}
	p.Faults = append(p.Faults, compile.Fault{Fault: f, Objects: []string{"slow"}})
}

func TestBetween(t *testing.T) {
	const ms = time.Millisecond
	slow := fault.Impairment{Delay: 50 * ms}
	for name, c := range map[string]struct {
		from, to *verify.Pod
		act      func(from, to *verify.Pod)
		addr     string // and port
		asked    verify.Asked
		why      string
	}{
		"nothing is asked":        {from: at("a", "tidb", "10.0.0.1"), to: at("b", "pd", "10.0.0.2"), addr: "10.0.0.2:2379"},
		"a delay":                 {from: at("a", "tidb", "10.0.0.1"), to: at("b", "pd", "10.0.0.2"), act: func(a, _ *verify.Pod) { egress(a, "10.0.0.2/32", slow) }, addr: "10.0.0.2:2379", asked: verify.Asked{RTT: 50 * ms}},
		"of the other one":        {from: at("a", "tidb", "10.0.0.1"), to: at("b", "pd", "10.0.0.2"), act: func(_, b *verify.Pod) { egress(b, "10.0.0.1/32", slow) }, addr: "10.0.0.2:2379", asked: verify.Asked{RTT: 50 * ms}},
		"of a third one":          {from: at("a", "tidb", "10.0.0.1"), to: at("b", "pd", "10.0.0.2"), act: func(a, _ *verify.Pod) { egress(a, "10.0.0.3/32", slow) }, addr: "10.0.0.2:2379"},
		"less than is shown":      {from: at("a", "tidb", "10.0.0.1"), to: at("b", "pd", "10.0.0.2"), act: func(a, _ *verify.Pod) { egress(a, "10.0.0.2/32", fault.Impairment{Delay: ms / 2}) }, addr: "10.0.0.2:2379", asked: verify.Asked{RTT: ms / 2}},
		"the second port":         {from: at("a", "tidb", "10.0.0.1"), to: at("b", "pd", "10.0.0.2"), act: func(a, _ *verify.Pod) { egress(a, "10.0.0.2/32", slow, 2380) }, addr: "10.0.0.2:2380", asked: verify.Asked{RTT: 50 * ms}},
		"a port that faults name": {from: at("a", "tidb", "10.0.0.1"), to: at("b", "pd", "10.0.0.2"), act: func(a, _ *verify.Pod) { egress(a, "10.0.0.2/32", slow, 9100) }, addr: "10.0.0.2:9100", asked: verify.Asked{RTT: 50 * ms}},
		"a partition":             {from: at("a", "tidb", "10.0.0.1"), to: at("b", "pd", "10.0.0.2"), act: func(a, _ *verify.Pod) { egress(a, "10.0.0.2/32", fault.Impairment{Partition: true}) }, addr: "10.0.0.2:2379", asked: verify.Asked{Cut: true}},
		"IPv6":                    {from: at("a", "tidb", "fd00::1"), to: at("b", "tikv", "10.0.0.2", "fd00::2"), addr: "[fd00::2]:20160"},
		"both families":           {from: at("a", "tidb", "10.0.0.1", "fd00::1"), to: at("b", "tikv", "10.0.0.2", "fd00::2"), addr: "10.0.0.2:20160"},
		"no common family":        {from: at("a", "tidb", "fd00::1"), to: at("b", "tikv", "10.0.0.2"), why: "they have no addresses of one family"},
		"no address":              {from: at("a", "tidb", "10.0.0.1"), to: at("b", "tikv"), why: "b has no address"},
		"no component":            {from: at("a", "tidb", "10.0.0.1"), to: at("b", "?", "10.0.0.2"), why: "no port of its component is known"},
		"too long":                {from: at("a", "tidb", "10.0.0.1"), to: at("b", "pd", "10.0.0.2"), act: func(a, _ *verify.Pod) { egress(a, "10.0.0.2/32", fault.Impairment{Delay: time.Minute}) }, why: "round trips of more than 6s are not measured"},
		"by chance":               {from: at("a", "tidb", "10.0.0.1"), to: at("b", "pd", "10.0.0.2"), act: func(_, b *verify.Pod) { egress(b, "10.0.0.1/32", slow, 40000) }, why: "chance decides which handshakes meet a fault, by the port that they come from"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.act != nil {
				c.act(c.from, c.to)
			}
			got, why := verify.Between(c.from, c.to)
			if why != c.why {
				t.Fatalf("%q, want %q", why, c.why)
			}
			if addr := netip.AddrPortFrom(got.Addr, got.Port).String(); why == "" && (addr != c.addr || got.Asked != c.asked) {
				t.Errorf("%s %+v, want %s %+v", addr, got.Asked, c.addr, c.asked)
			}
		})
	}
}

func checks(n int, asked verify.Asked) []verify.Check {
	var all []verify.Check
	for i := range n {
		all = append(all, verify.Check{From: "a", To: fmt.Sprint(i), Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Port: 2379, Asked: asked})
	}
	return all
}

// An agent accepts every batch, and no check of one waits long for others.
func TestBatches(t *testing.T) {
	var all []verify.Check
	for _, asked := range []verify.Asked{{}, {RTT: 20 * time.Millisecond}, {Cut: true}, {RTT: 300 * time.Millisecond}, {RTT: 2 * time.Second}, {RTT: 5 * time.Second}} {
		all = append(all, checks(9, asked)...)
	}
	count := 0
	for _, b := range verify.Batches(all) {
		m := b.Measure()
		plan, err := measure.Parse(m)
		if err != nil {
			t.Errorf("an agent refuses %+v: %v", m, err)
		}
		count += len(b)
		for _, c := range b {
			if c.Asked.Cut != b[0].Asked.Cut || plan.Timeout > 950*time.Millisecond+c.Asked.RTT {
				t.Errorf("%+v waits %s, with %+v", c.Asked, plan.Timeout, b[0].Asked)
			}
		}
	}
	if got := len(verify.Batches(all)); count != len(all) || got != 11 {
		t.Errorf("%d checks in %d batches, want %d in 11", count, got, len(all))
	}
}

func TestBatchJudges(t *testing.T) {
	b := verify.Batch(checks(2, verify.Asked{RTT: 20 * time.Millisecond}))
	answer := api.Measurements{Results: []api.Measurement{{Samples: []float64{0.3}}, {Samples: []float64{20.4}}, {Samples: []float64{0.3}}, {Samples: []float64{0.4}}}}
	got, err := b.Judge(answer)
	if err != nil || got[0].Outcome != verify.InTolerance || got[1].Outcome != verify.Early {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := b.Judge(api.Measurements{Results: answer.Results[:3]}); err == nil || !strings.Contains(err.Error(), "3 measurements of 4") {
		t.Errorf("of an answer that is too short: %v", err)
	}
}

// Where nothing is asked for, a round trip can be too long, and not too short.
func TestNothingAsked(t *testing.T) {
	c := checks(1, verify.Asked{})[0]
	for want, samples := range map[verify.Outcome][2][]float64{
		verify.InTolerance: {{0.3, 0.4, 1.9}, {0.3, 0.4, 0.5}},
		verify.Late:        {{0.3, 0.3, 0.4}, {5, 5.1, 5.2}},
		verify.Noisy:       {{0.3, 0.3, 9}, {5, 5.1, 5.2}},
		verify.NoAnswer:    {{0.3}, nil},
		verify.Unreachable: {nil, nil},
	} {
		j := c.Judge(api.Measurement{Samples: samples[0]}, api.Measurement{Samples: samples[1]})
		if j.Outcome != want {
			t.Errorf("%v: %s, want %s", samples, j.Outcome, want)
		}
	}
	early := c.Judge(api.Measurement{Samples: []float64{8, 8, 8}}, api.Measurement{Samples: []float64{1, 1, 1}})
	if early.Outcome != verify.InTolerance {
		t.Errorf("a pair that is faster than its baseline: %s", early.Outcome)
	}
}

func TestExplain(t *testing.T) {
	late := verify.State{Verdict: verify.Wrong, Because: verify.Judgement{Outcome: verify.Late, Before: time.Millisecond, Measured: 13 * time.Millisecond}}
	for want, r := range map[string]verify.Result{
		"": {State: verify.State{Verdict: verify.Right}},

		"12ms added, nothing asked for":                 {State: late},
		"12ms added, no delay asked for":                {State: late, Task: verify.Task{Check: verify.Check{Asked: verify.Asked{Lossy: true}}}},
		"no answer, nothing asked for":                  {State: verify.State{Verdict: verify.Wrong, Because: verify.Judgement{Outcome: verify.NoAnswer}}},
		"it does not answer at its agent's port either": {State: verify.State{Verdict: verify.Unknown, Because: verify.Judgement{Outcome: verify.Unreachable}}},
	} {
		r.Check = checks(1, r.Asked)[0]
		if got := r.Explain(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
