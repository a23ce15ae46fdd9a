//go:build kernel

package netem

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

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
		"limit 500 rate 12Mbit": {Rate: &fault.Rate{BitsPerSecond: 12_000_000}},
		"limit 64 rate 1Mbit packetoverhead 10 cellsize 53 celloverhead -5": {Rate: &fault.Rate{
			BitsPerSecond: 1_000_000, PacketOverhead: 10, CellSize: 53, CellOverhead: -5,
		}},
		"limit 131072 rate 100Gbit": {Rate: &fault.Rate{BitsPerSecond: fault.MaxRate}},
	} {
		l.apply(e, fault.Fault{Name: "x", Match: fault.Match{Direction: fault.Egress}, Impairment: i})
		got := l.run("tc qdisc show dev eth0 | grep netem")
		if want = "qdisc netem 7e02: parent 7de1:2 " + want; strings.TrimSpace(got) != want && !strings.HasPrefix(got, want+" seed ") {
			t.Errorf("%+v:\n got %swant %s", i, got, want)
		}
	}
	l.apply(e)
	if got := l.run("tc qdisc show dev eth0"); strings.Contains(got, "7de1") || strings.Contains(got, "netem") {
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

// A fault that replaces another has nothing of it.
func TestKernelNothingSticks(t *testing.T) {
	l := newLab(t)
	e := l.engine(nil)
	chance := &fault.Chance{Percent: fault.Hundred, Correlation: fault.Hundred / 2}
	all := everything("x", fault.Egress, 30*ms)
	all.Impairment = fault.Impairment{
		Delay: 30 * ms, Jitter: 10 * ms, Correlation: fault.Hundred / 2, Distribution: fault.Normal, Loss: chance, Corrupt: chance,
		Reorder: &fault.Reorder{Percent: fault.Hundred, Correlation: fault.Hundred / 2, Gap: 3},
		Rate:    &fault.Rate{BitsPerSecond: 8_000, PacketOverhead: 1_000, CellSize: 100, CellOverhead: 10},
	}
	for range 2 {
		l.apply(e, all)
		l.apply(e, everything("x", fault.Egress, 20*ms))
		if got := l.run("tc qdisc show dev eth0 | grep netem"); !strings.Contains(got, "limit 10000 delay 20ms") || strings.ContainsAny(got, "%") || strings.Contains(got, "rate") {
			t.Errorf("after all that, a delay is %s", got)
		}
	}
	// The table of a normal distribution has tails of four times the jitter. A
	// uniform jitter that still used it would show them.
	s := l.stream(peerAddr(1), false)
	for distribution, tails := range map[fault.Distribution]bool{fault.Normal: true, fault.Uniform: false} {
		f := everything("x", fault.Egress, 60*ms)
		f.Impairment.Jitter, f.Impairment.Distribution = 15*ms, fault.Normal
		l.apply(e, f)
		f.Impairment.Distribution = distribution
		l.apply(e, f)
		early := 0
		for i := range 600 {
			s.send(uint64(i))
		}
		for _, d := range s.receive(300 * ms) {
			if d.late < 45*ms {
				early++
			}
		}
		if early > 0 != tails {
			t.Errorf("%s: %d of 600 datagrams come more than the jitter too early", distribution, early)
		}
	}
}

// Twelve faults at once, each for a peer, and bystanders for none.
func TestKernelTwelveFaultsAtOnce(t *testing.T) {
	l := newLab(t)
	e := l.engine(nil)
	var faults []fault.Fault
	for i := range 12 {
		faults = append(faults, matched(fmt.Sprintf("f%02d", i), fault.Match{Direction: fault.Egress, Peers: prefixes(peerAddr(i) + "/32")}, time.Duration(10+20*i)*ms))
	}
	l.apply(e, faults...)
	for i := range 12 {
		l.isDelay(peerAddr(i), l.stream(peerAddr(i), false).delay(400*ms), time.Duration(10+20*i)*ms)
		l.isDelay("from "+peerAddr(i), l.stream(peerAddr(i), true).delay(50*ms), 0)
	}
	l.isDelay("a bystander", l.stream(peerAddr(13), false).delay(50*ms), 0)
	l.isDelay("a bystander", l.stream(nodeAddr6, false).delay(50*ms), 0)
	state, err := e.State(faults)
	l.must(err)
	for _, f := range faults {
		held := state.Found[f.Name]
		if len(held) != 1 || held[0].Counters.Packets < 5 || held[0].Counters.Bytes == 0 || held[0].Counters.Dropped != 0 || held[0].Counters.Backlog != 0 {
			t.Errorf("fault %s: %+v", f.Name, held)
		}
	}
}

// While others come, change and go, the packets of one fault are neither lost
// nor freed nor held by another, and neither are those of a bystander.
func TestKernelOthersLoseNothing(t *testing.T) {
	for _, direction := range []fault.Direction{fault.Egress, fault.Ingress} {
		t.Run(direction.String(), func(t *testing.T) {
			l := newLab(t)
			e := l.engine(nil)
			steady := matched("steady", fault.Match{Direction: direction, Peers: prefixes(peerAddr(1) + "/32")}, 60*ms)
			other := func(i int, delay time.Duration) fault.Fault {
				return matched("other", fault.Match{Direction: direction, Peers: prefixes(peerAddr(i) + "/32")}, delay)
			}
			l.apply(e, steady)
			l.ping(peerAddr(1), 3, 10*ms)() // neighbours know each other
			wait, waitClean := l.ping(peerAddr(1), 1_000, 4*ms), l.ping(peerAddr(9), 1_000, 4*ms)
			changes := 0
			for start := time.Now(); time.Since(start) < 3*time.Second; changes += 4 {
				l.apply(e, steady, other(2, 10*ms))
				l.apply(e, steady, other(2, 20*ms))
				l.apply(e, steady, other(3, 30*ms), matched("udp", fault.Match{Direction: direction ^ fault.Both, Protocol: "udp"}, ms))
				l.apply(e, steady)
			}
			got, clean := wait(), waitClean()
			t.Logf("%d changes; %s%s", changes, got.said, clean.said)
			if got.received != got.sent || got.least < 60*ms || got.average > 75*ms {
				t.Errorf("the steady fault: %s", got.said)
			}
			if clean.received != clean.sent || clean.average > 8*ms {
				t.Errorf("a bystander: %s", clean.said)
			}
		})
	}
}

// Ingress goes through our ifb, both directions add up, and clearing leaves
// nothing of it.
func TestKernelIngress(t *testing.T) {
	l := newLab(t)
	e := l.engine(nil)
	before := l.configuration()
	in := matched("in", fault.Match{Direction: fault.Ingress, Peers: prefixes(peerAddr(1)+"/32", "fd77::1/128")}, 30*ms)
	l.apply(e, in, matched("out", fault.Match{Direction: fault.Egress, Peers: prefixes(peerAddr(1) + "/32")}, 10*ms))
	l.isDelay("in", l.stream(peerAddr(1), true).delay(100*ms), 30*ms)
	l.isDelay("in, IPv6", l.stream(nodeAddr6, true).delay(100*ms), 30*ms)
	l.isDelay("out", l.stream(peerAddr(1), false).delay(100*ms), 10*ms)
	l.isDelay("from a bystander", l.stream(peerAddr(2), true).delay(50*ms), 0)
	link := l.run("ip link show type ifb")
	if want := ifbName(l.device.Index) + ":"; !strings.Contains(link, want) || !strings.Contains(link, "mtu 1500") || !strings.Contains(link, "qlen 1000") {
		t.Errorf("no %s as wanted: %s", want, link)
	}
	if filters := l.run("tc filter show dev eth0 ingress"); strings.Count(filters, "Egress Redirect to device "+ifbName(l.device.Index)) != 2 {
		t.Errorf("redirects: %s", filters)
	}
	// Without its ifb a redirect drops all that arrives. The engine says so and
	// mends it.
	l.run("ip link del " + ifbName(l.device.Index))
	if got := l.stream(peerAddr(2), true).delay(50 * ms); got >= 0 {
		t.Errorf("this kernel passes what it can't redirect")
	}
	if state, err := e.State([]fault.Fault{in}); err != nil || len(state.Found) != 0 || len(state.Drift) == 0 {
		t.Errorf("State without the ifb: %+v, %v", state, err)
	}
	l.apply(e, in)
	l.isDelay("in, mended", l.stream(peerAddr(1), true).delay(100*ms), 30*ms)
	l.run("ip link del " + ifbName(l.device.Index))
	l.apply(e)
	l.isDelay("in, cleared", l.stream(peerAddr(1), true).delay(50*ms), 0)
	if after := l.configuration(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// What is exempt passes a partition, in both families.
func TestKernelPartitionSparesTheExempt(t *testing.T) {
	l := newLab(t)
	e := l.engine(nil)
	cut := fault.Fault{Name: "cut", Match: fault.Match{Direction: fault.Both}, Impairment: fault.Impairment{Partition: true}}
	l.apply(e, cut)
	for _, address := range []string{nodeAddr, nodeAddr6} {
		for _, toPod := range []bool{false, true} {
			if got := l.stream(address, toPod).delay(50 * ms); got >= 0 {
				t.Errorf("a datagram with %s passes a partition", address)
			}
		}
	}
	l.run("ip neigh flush dev eth0")
	for _, c := range []struct {
		listen string
		passes bool
	}{{podAddr + ":2332", true}, {"[" + podAddr6 + "]:2332", true}, {podAddr + ":4000", true}, {"[" + podAddr6 + "]:4000", true}, {podAddr + ":4001", false}} {
		if err := l.connect(c.listen); (err == nil) != c.passes {
			t.Errorf("connecting to %s: %v", c.listen, err)
		}
	}
	state, err := e.State([]fault.Fault{cut})
	l.must(err)
	for _, h := range state.Found["cut"] {
		if h.Counters.Dropped == 0 {
			t.Errorf("%s: a partition that counts no drops: %+v", h.Direction, h.Counters)
		}
	}
	l.apply(e)
}

// Packets on their way leave on time when their fault ends, several at once
// within one second; what takes longer is dropped.
func TestKernelDrains(t *testing.T) {
	l := newLab(t)
	e := l.engine(nil)
	in := matched("in", fault.Match{Direction: fault.Ingress, Peers: prefixes(peerAddr(2) + "/32")}, 600*ms)
	l.apply(e, matched("a", fault.Match{Direction: fault.Egress, Peers: prefixes(peerAddr(1) + "/32")}, 700*ms), in,
		matched("long", fault.Match{Direction: fault.Egress, Peers: prefixes(peerAddr(3) + "/32")}, time.Minute))
	streams := []stream{l.stream(peerAddr(1), false), l.stream(peerAddr(2), true), l.stream(peerAddr(3), false)}
	for _, s := range streams {
		s.send(1)
	}
	start := time.Now()
	l.apply(e)
	if took := time.Since(start); took < 900*ms || took > 1300*ms {
		t.Errorf("draining took %s", took)
	}
	for i, want := range []int{1, 1, 0} {
		if got := streams[i].receive(20 * ms); len(got) != want {
			t.Errorf("stream %d: %d datagrams arrived, want %d", i, len(got), want)
		}
	}
}

// The queue of a 100 ms delay holds what the kernel's default of 1000 drops.
func TestKernelLimitHoldsTheDelay(t *testing.T) {
	l := newLab(t)
	e := l.engine(nil)
	f := everything("x", fault.Egress, time.Second)
	l.apply(e, f)
	s := l.stream(peerAddr(1), false)
	s.send(0)
	s.receive(1100 * ms) // neighbours know each other
	const sent = 4_000
	lost := func() int {
		for i := range sent {
			s.send(uint64(i))
		}
		return sent - len(s.receive(1100*ms))
	}
	if n := lost(); n > 0 {
		t.Errorf("%d datagrams lost under a delay", n)
	}
	l.run("tc qdisc change dev eth0 parent 7de1:2 handle 7e02: netem delay 1s limit 1000")
	if lost() == 0 {
		t.Error("the kernel's default limit loses nothing here, so that this test proves nothing")
	}
	if state, err := e.State([]fault.Fault{f}); err != nil || len(state.Found) != 0 || !strings.Contains(strings.Join(state.Drift, ""), "the kernel holds netem limit 1000 delay 1s") {
		t.Errorf("a changed limit: %+v, %v", state, err)
	}
	l.apply(e, f)
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
	states.Impairment = fault.Impairment{FourState: &fault.FourState{P13: 1, P31: 22222, P32: 3, P23: 4, P14: 99999}}
	faults, err := fault.NewSet([]fault.Fault{loss, rate, states})
	l.must(err)
	commands := strings.Join(Commands([]string{device}, l.exempt, memory, faults), "\n")
	l.run(commands)
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
	for i := range 33 {
		m.Peers = append(m.Peers, prefixes(fmt.Sprintf("10.8.0.%d/32", i))...)
	}
	many := matched("many", m, 20*ms)
	start := time.Now()
	l.apply(e, many)
	t.Logf("%d filters set in %s", strings.Count(l.run("tc filter show dev eth0"), "flowid"), time.Since(start))
	l.apply(e, many, matched("one", fault.Match{Direction: fault.Egress, Peers: prefixes(peerAddr(1) + "/32")}, 30*ms))
	l.isDelay("behind them", l.stream(peerAddr(1), false).delay(100*ms), 30*ms)
	many.Match.Peers = append(many.Match.Peers, prefixes("10.9.0.0/32")...)
	var invalid fault.Invalid
	if err := e.Apply([]fault.Fault{many}); !errors.As(err, &invalid) {
		t.Errorf("more filters: %v", err)
	}
	l.apply(e)
}
