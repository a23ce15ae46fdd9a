package netem

import (
	"slices"

	"github.com/tidelay/tidelay/pkg/fault"
)

// verdict is what happens to a packet: what the netem that it meets does, or
// nothing if it is clean.
type verdict struct {
	options
	distribution fault.Distribution
	lost         bool
}

func verdictOf(s setting) verdict {
	v := verdict{options: s.options}
	if s.jitter > 0 { // a table without a jitter does nothing
		v.distribution = s.distribution
	}
	return v
}

// verdict returns what happens to a packet at an attach point.
func (k *fakeKernel) verdict(p attachPoint, pkt packet) verdict {
	t := k.trees[p]
	band := k.classify(p, familyOf(pkt.Peer.Is6()), pkt.raw[p.direction])
	if band <= bandClean || !t.hasRoot || p == ingress && !k.redirectsAll() {
		return verdict{}
	}
	n, there := t.netems[band]
	if !there {
		return verdict{lost: true}
	}
	return verdictOf(n.setting)
}

// expect returns what should happen to a packet, decided without filters.
func expect(e *Engine, faults []fault.Fault, p attachPoint, pkt packet) verdict {
	tcp := pkt.Protocol == "tcp"
	node := slices.Contains(e.scope.Exempt.NodeAddrs, pkt.Peer) && slices.Contains(e.scope.Exempt.ProbePorts, pkt.Local)
	discovery := pkt.Protocol == "icmp" && pkt.Peer.Is6() && pkt.icmpType >= 133 && pkt.icmpType <= 137
	if discovery || tcp && (pkt.Local == e.scope.Exempt.ControlPort || pkt.Remote == e.scope.Exempt.ControlPort || node) {
		return verdict{}
	}
	f := fault.FaultFor(faults, p.direction, p.device, pkt.Packet)
	if f == nil {
		return verdict{}
	}
	return verdictOf(settingFor(f.Impairment, e.queueMemory))
}

// verdicts are those of every packet at both attach points.
type verdicts []verdict

func (k *fakeKernel) verdicts() verdicts {
	var all verdicts
	for _, p := range []attachPoint{egress, ingress} {
		for _, pkt := range packets {
			all = append(all, k.verdict(p, pkt))
		}
	}
	return all
}

func expected(e *Engine, faults []fault.Fault) verdicts {
	var all verdicts
	for _, p := range []attachPoint{egress, ingress} {
		for _, pkt := range packets {
			all = append(all, expect(e, faults, p, pkt))
		}
	}
	return all
}

// subject names the attach point and the packet of a verdict.
func subject(i int) string {
	return []attachPoint{egress, ingress}[i/len(packets)].String() + ": " + packets[i%len(packets)].String()
}

// is fails the test unless the verdicts are as wanted.
func (k *fakeKernel) is(want verdicts, what string) {
	k.t.Helper()
	for i, got := range k.verdicts() {
		if got != want[i] {
			k.t.Fatalf("%s: %s meets %+v, want %+v", what, subject(i), got, want[i])
		}
	}
}

// change is a change from what packets meet before to what they meet after.
type change struct {
	before, after verdicts
	// mayBeClean allows a packet to meet no fault in between.
	mayBeClean bool
	what       string
}

// watch returns a function that checks, before each request of a change, that
// each packet meets what it met before or what it will meet after, and does not
// go back to what it met before.
func (k *fakeKernel) watch(c change) (check func(at string)) {
	changed := make(map[int]bool)
	return func(at string) {
		k.t.Helper()
		for i, now := range k.verdicts() {
			switch {
			case now == c.after[i]:
				changed[i] = c.before[i] != c.after[i]
			case c.mayBeClean && now == (verdict{}):
			case changed[i]:
				k.t.Fatalf("%s, at %s: %s is back at %+v", c.what, at, subject(i), now)
			case now != c.before[i]:
				k.t.Fatalf("%s, at %s: %s meets %+v, neither %+v nor %+v", c.what, at, subject(i), now, c.before[i], c.after[i])
			}
		}
	}
}
