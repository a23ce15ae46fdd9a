//go:build kernel

package netem

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/fault"
)

// chosenSeed is what tc shows of the seed that the kernel chose, since Linux 6.6.
var chosenSeed = regexp.MustCompile(` seed \d+`)

// Every option, as tc reads it.
func TestKernelHoldsEveryOption(t *testing.T) {
	l := newLab(t)
	e := l.engine(nil)
	const percent = fault.Hundred / 100
	chance := &fault.Chance{Percent: 10 * percent, Correlation: 25 * percent}
	for want, i := range map[string]fault.Impairment{
		"limit 10000 delay 20ms":                     {Delay: 20 * ms},
		"limit 1000 delay 512us":                     {Delay: 512 * time.Microsecond},
		"limit 131072 delay 275s":                    {Delay: 275 * time.Second},
		"limit 15000 delay 20ms  10ms 25%":           {Delay: 20 * ms, Jitter: 10 * ms, Correlation: 25 * percent, Distribution: fault.Uniform},
		"limit 30000 delay 20ms  10ms":               {Delay: 20 * ms, Jitter: 10 * ms, Distribution: fault.ParetoNormal},
		"limit 1000 loss 10% 25%":                    {Loss: chance},
		"limit 1000 loss 100%":                       {Partition: true},
		"limit 1000 duplicate 10% 25%":               {Duplicate: chance},
		"limit 1000 corrupt 10% 25%":                 {Corrupt: chance},
		"limit 1000 delay 1ms reorder 10% 25% gap 5": {Delay: ms, Reorder: &fault.Reorder{Percent: 10 * percent, Correlation: 25 * percent, Gap: 5}},
		"limit 1000 delay 1ms reorder 10% 25% gap 1": {Delay: ms, Reorder: &fault.Reorder{Percent: 10 * percent, Correlation: 25 * percent, Gap: 1}},
		"limit 1000 loss gemodel p 1% r 10% 1-h 70% 1-k 0.1%": {GilbertElliott: &fault.GilbertElliott{
			ToBad: percent, ToGood: 10 * percent, LossInBad: 70 * percent, LossInGood: percent / 10,
		}},
		"limit 1000 loss state p13 1% p31 2% p32 3% p23 4% p14 5%": {FourState: &fault.FourState{
			P13: percent, P31: 2 * percent, P32: 3 * percent, P23: 4 * percent, P14: 5 * percent,
		}},
		"limit 495 rate 12Mbit": {Rate: &fault.Rate{BitsPerSecond: 12_000_000}},
		"limit 44 rate 1Mbit packetoverhead 10 cellsize 53 celloverhead -5": {Rate: &fault.Rate{
			BitsPerSecond: 1_000_000, PacketOverhead: 10, CellSize: 53, CellOverhead: -5,
		}},
		"limit 131072 rate 100Gbit": {Rate: &fault.Rate{BitsPerSecond: fault.MaxRate}},
	} {
		l.apply(e) // some kernels refuse what duplicates beside anything else
		l.apply(e, fault.Fault{Name: "x", Match: fault.Match{Direction: fault.Egress}, Impairment: i})
		got, parent := l.netem(), "7de1:2"
		if i.Rate != nil && i.Rate.BitsPerSecond < fault.MaxRate {
			parent = "7f02:1" // its segmenter
		}
		if shown := strings.TrimSpace(chosenSeed.ReplaceAllString(got, "")); shown != "qdisc netem 7e02: parent "+parent+" "+want {
			t.Errorf("got  %s\nwant qdisc netem 7e02: parent %s %s", shown, parent, want)
		}
	}
	l.apply(e)
	if got := l.pod.Exec(t, "tc qdisc show dev eth0"); strings.Contains(got, "7de1") || strings.Contains(got, "netem") {
		t.Errorf("after clearing: %s", got)
	}
}

// Times beyond 32 bits and below a tick are read back to the nanosecond; tc
// shows the old 32 bits.
func TestKernelHoldsEveryDelay(t *testing.T) {
	l := newLab(t)
	for _, delay := range []time.Duration{time.Microsecond, 1500*time.Microsecond + 1, 274 * time.Second, 275 * time.Second, 300 * time.Second, 10 * time.Minute} {
		f := everything(fault.Latency, fault.Egress, delay)
		l.apply(l.engine(nil), f)
		adopted, err := l.engine(nil).Adopt()
		if err != nil || len(adopted) != 1 || !adopted[0].SameEffect(f) {
			t.Errorf("the kernel holds %v, asked for %s, %v", adopted, delay, err)
		}
	}
}

// Ingress goes through our ifb, both directions add up, and clearing leaves
// nothing of it.
func TestKernelIngress(t *testing.T) {
	l := newLab(t)
	e := l.engine(nil)
	before := l.configuration()
	in := matched("in", fault.Match{Direction: fault.Ingress, Peers: prefixes(l.peer(1)+"/32", l.node.IP6+"/128")}, 30*ms)
	l.apply(e, in, matched("out", fault.Match{Direction: fault.Egress, Peers: prefixes(l.peer(1) + "/32")}, 10*ms))
	l.wantDelay("in", l.flowToPod(l.peer(1), 0, 0), 30*ms)
	l.wantDelay("in, IPv6", l.flowToPod(l.node.IP6, 0, 0), 30*ms)
	l.wantDelay("out", l.flow(l.peer(1), 0, 0), 10*ms)
	l.wantDelay("from a bystander", l.flowToPod(l.peer(2), 0, 0), 0)
	link := l.pod.Exec(t, "ip link show type ifb")
	if want := ifbName(l.device.Index) + ":"; !strings.Contains(link, want) || !strings.Contains(link, "mtu 1500") || !strings.Contains(link, "qlen 1000") {
		t.Errorf("no %s as wanted: %s", want, link)
	}
	if filters := l.pod.Exec(t, "tc filter show dev eth0 ingress"); strings.Count(filters, "Egress Redirect to device "+ifbName(l.device.Index)) != 2 {
		t.Errorf("redirects: %s", filters)
	}
	// Without its ifb a redirect drops all that arrives. The engine says so and
	// mends it.
	l.pod.Exec(t, "ip link del "+ifbName(l.device.Index))
	if got := l.delay(l.flowToPod(l.peer(2), 5, 50*ms)); got != none {
		t.Errorf("this kernel passes what it can't redirect")
	}
	if state, err := e.State([]fault.Fault{in}); err != nil || len(state.Found) != 0 || len(state.Drift) == 0 {
		t.Errorf("State without the ifb: %+v, %v", state, err)
	}
	l.apply(e, in)
	l.wantDelay("in, mended", l.flowToPod(l.peer(1), 0, 0), 30*ms)
	l.pod.Exec(t, "ip link del "+ifbName(l.device.Index))
	l.apply(e)
	l.wantDelay("in, cleared", l.flowToPod(l.peer(1), 0, 0), 0)
	if after := l.configuration(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// allWait has an error unless a packet waits in each fault.
func (l *lab) allWait(e *Engine, faults []fault.Fault) error {
	state, err := e.State(faults)
	if err != nil {
		return err
	}
	for _, f := range faults {
		if found := state.Found[f.Name]; len(found) != 1 || found[0].Counters.Backlog == 0 {
			return fmt.Errorf("fault %s: %+v", f.Name, found)
		}
	}
	return nil
}

// Packets on their way leave on time when their fault ends, several at once
// within one second; what takes longer is dropped.
func TestKernelDrains(t *testing.T) {
	l := newLab(t)
	e := l.engine(nil)
	faults := []fault.Fault{
		matched("a", fault.Match{Direction: fault.Egress, Peers: prefixes(l.peer(1) + "/32")}, 700*ms),
		matched("in", fault.Match{Direction: fault.Ingress, Peers: prefixes(l.peer(2) + "/32")}, 600*ms),
		matched("long", fault.Match{Direction: fault.Egress, Peers: prefixes(l.peer(3) + "/32")}, time.Minute),
	}
	l.apply(e, faults...)
	var ends []func() (netlab.Traffic, error)
	for _, f := range []netlab.Flow{l.flow(l.peer(1), 1, 2*time.Second), l.flowToPod(l.peer(2), 1, 2*time.Second), l.flow(l.peer(3), 1, 2*time.Second)} {
		f.Brief = true
		ends = append(ends, f.Start())
	}
	netlab.Eventually(t, time.Second, "all datagrams wait", func() error { return l.allWait(e, faults) })
	start := time.Now()
	l.apply(e)
	if took, most := time.Since(start), 3*time.Second; took < 900*ms || took > most {
		t.Errorf("draining took %s, want at most %s", took, most)
	}
	for i, want := range []int{1, 1, 0} {
		got, err := ends[i]()
		l.must(err)
		if len(got.Arrivals) != want {
			t.Errorf("flow %d: %d datagrams arrived, want %d", i, len(got.Arrivals), want)
		}
	}
}

// The commands for a dry run build what the engine builds.
func TestKernelCommandsBuildTheSame(t *testing.T) {
	l := newLab(t)
	const percent = fault.Hundred / 100
	loss := everything("loss", fault.Both, 0)
	loss.Impairment = fault.Impairment{GilbertElliott: &fault.GilbertElliott{ToBad: percent, ToGood: 33 * percent, LossInBad: 70 * percent, LossInGood: 1}}
	rate := matched("rate", fault.Match{Direction: fault.Ingress, Protocol: "tcp", LocalPorts: portRange(1000, 3000)}, 0)
	rate.Impairment = fault.Impairment{
		Delay: 20*ms + time.Microsecond, Rate: &fault.Rate{BitsPerSecond: 1_500_000_000, PacketOverhead: -4}, Loss: &fault.Chance{Percent: 12345, Correlation: 3},
		Reorder: &fault.Reorder{Percent: 250001, Correlation: 1, Gap: 7}, Corrupt: &fault.Chance{Percent: 1},
	}
	states := matched("states", fault.Match{Direction: fault.Egress, Peers: prefixes("fd00::/16", "10.0.0.0/9")}, 0)
	for i := range 20 { // which are hashed
		states.Match.Peers = append(states.Match.Peers, prefixes(fmt.Sprintf("10.200.%d.7/32", i), fmt.Sprintf("fd01::%x/128", i))...)
	}
	states.Impairment = fault.Impairment{FourState: &fault.FourState{P13: 1, P31: 22222, P32: 3, P23: 4, P14: 99999}}
	faults, err := fault.NewSet([]fault.Fault{loss, rate, states})
	l.must(err)
	commands := strings.Join(Commands([]string{device}, l.exempt, memory, faults), "\n")
	l.shell(commands)
	e := l.engine(nil)
	state, err := e.State(faults)
	l.must(err)
	if len(state.Drift) > 0 || len(state.Found) != 3 {
		t.Fatalf("State after the commands: %s", strings.Join(state.Drift, "\n"))
	}
	before := l.configuration()
	l.must(e.Apply(faults))
	if after := l.configuration(); after != before {
		t.Errorf("the engine changed what the commands made:\n%s\nto\n%s", before, after)
	}
}

// As many filters as there can be, built, read back and switched.
func TestKernelManyFilters(t *testing.T) {
	l := newLab(t)
	e := l.engine(nil)
	m := fault.Match{Direction: fault.Egress, RemotePorts: portRange(1, 65534)} // 30 filters for each peer and protocol
	for i := range 67 {                                                         // 4,020 of 4,078
		m.Peers = append(m.Peers, prefixes(fmt.Sprintf("10.8.0.%d/32", i))...)
	}
	many := matched("many", m, 20*ms)
	start := time.Now()
	l.apply(e, many)
	t.Logf("%d filters set in %s", strings.Count(l.pod.Exec(t, "tc filter show dev eth0"), "flowid"), time.Since(start))
	l.apply(e, many, matched("one", fault.Match{Direction: fault.Egress, Peers: prefixes(l.peer(1) + "/32")}, 30*ms))
	l.wantDelay("behind them", l.flow(l.peer(1), 0, 0), 30*ms)
	many.Match.Peers = append(many.Match.Peers, prefixes("10.9.0.0/32")...)
	var invalid fault.Invalid
	if err := e.Apply([]fault.Fault{many}); !errors.As(err, &invalid) {
		t.Errorf("more filters: %v", err)
	}
	l.apply(e)
}
