//go:build kernel

package netem

import (
	"errors"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/tidelay/tidelay/pkg/fault"
)

// What somebody else made is refused, named, and left byte for byte.
func TestKernelForeignStateIsLeftAlone(t *testing.T) {
	own := []fault.Fault{everything("own", fault.Both, ms)}
	for name, c := range map[string]struct {
		ours     bool // a fault of ours is there first
		commands string
		faults   []fault.Fault
		named    string
		clears   bool
	}{
		"a root":              {false, "tc qdisc add dev eth0 root handle 1: tbf rate 1gbit burst 100k latency 50ms", own, "root qdisc tbf 1:", true},
		"a netem":             {false, "tc qdisc add dev eth0 root netem delay 1ms", own, "root qdisc netem", true},
		"a clsact":            {false, "tc qdisc add dev eth0 clsact", own, "qdisc clsact ffff:", true},
		"an empty ingress":    {false, "tc qdisc add dev eth0 ingress", own, "qdisc ingress ffff:", true},
		"an ingress in use":   {false, "tc qdisc add dev eth0 ingress; tc filter add dev eth0 parent ffff: protocol all prio 7 u32 match u32 0 0 action ok", own, "qdisc ingress ffff:", true},
		"a link of our name":  {false, "ip link add %ifb% type dummy", own, "of type dummy", true},
		"a filter at the end": {true, "tc filter add dev eth0 parent 7de1: protocol ip prio 99 u32 match u32 0 0 flowid 7de1:1", nil, "u32 filter with priority 99", false},
		"a filter of another kind": {
			true, "tc filter add dev eth0 parent 7de1: protocol ip prio 99 handle 7 fw classid 7de1:1", nil, "fw filter with priority 99", false,
		},
		"a filter among ours": {true, "tc filter add dev eth0 parent 7de1: protocol ip prio 1 u32 match u32 0 0 flowid 7de1:1", nil, "u32 filter with priority 1", false},
		"a qdisc inside":      {true, "tc qdisc add dev eth0 parent 7de1:9 handle 9: pfifo", nil, "qdisc pfifo 9:", false},
		"a filter on our ingress": {
			true, "tc filter add dev eth0 parent ffff: protocol all prio 7 u32 match u32 0 0 action ok", nil, "u32 filter with priority 7", false,
		},
		"a qdisc on our ifb": {true, "tc qdisc add dev %ifb% parent 7de1:9 handle 9: pfifo", nil, "qdisc pfifo 9:", false},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			e := l.engine(nil)
			if c.ours {
				l.apply(e, own...)
			}
			l.shell(strings.ReplaceAll(c.commands, "%ifb%", ifbName(l.device.Index)))
			before := l.configuration()
			for _, engine := range []*Engine{e, l.engine(nil)} {
				if err := engine.Apply([]fault.Fault{everything("other", fault.Both, 2*ms)}); !errors.Is(err, fault.ErrForeign) || !strings.Contains(err.Error(), c.named) {
					t.Errorf("Apply: %v, want it to name %s", err, c.named)
				}
				if err := engine.Apply(nil); (err == nil) != c.clears {
					t.Errorf("Apply of nothing: %v", err)
				}
				state, err := engine.State(own)
				if err != nil || !strings.Contains(strings.Join(state.Drift, "\n"), c.named) {
					t.Errorf("State: %+v, %v, want it to name %s", state, err, c.named)
				}
			}
			if after := l.configuration(); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

// meddler is the kernel, with something happening before one of the changes.
type meddler struct {
	*conn
	before func(n int, o op) error
	n      *int
}

func (m meddler) do(o op) error {
	*m.n++
	if err := m.before(*m.n, o); err != nil {
		return err
	}
	return m.conn.do(o)
}

// meddle has something happen before the changes of an engine.
func (l *lab) meddle(e *Engine, before func(n int, o op) error) {
	n := 0
	e.dial = func() (kernel, error) {
		c, err := dial()
		return meddler{c, before, &n}, err
	}
}

// Somebody puts a qdisc where the engine is about to put its own: all that was
// done goes back.
func TestKernelRollsBack(t *testing.T) {
	l := newLab(t)
	ifb := strings.NewReplacer("%ifb%", ifbName(l.device.Index)).Replace
	for name, c := range map[string]struct {
		first   []fault.Fault
		second  fault.Fault
		at, put string
		remove  string
	}{
		"nothing, a root":   {nil, everything("x", fault.Both, ms), "tc qdisc add dev eth0 root", "tc qdisc add dev eth0 root handle 1: htb", "tc qdisc del dev eth0 root"},
		"nothing, a clsact": {nil, everything("x", fault.Both, ms), "tc qdisc add dev eth0 ingress", "tc qdisc add dev eth0 clsact", "tc qdisc del dev eth0 clsact"},
		"egress, a link": {
			[]fault.Fault{everything("a", fault.Egress, ms), matched("b", fault.Match{Direction: fault.Egress, Peers: prefixes("10.0.0.0/8")}, 2*ms)},
			everything("x", fault.Both, 3*ms), "ip link add", "ip link add %ifb% type dummy", "ip link del %ifb%",
		},
	} {
		e := l.engine(nil)
		l.apply(e, c.first...)
		e = l.engine(nil)
		before := l.configuration()
		done := false
		l.meddle(e, func(_ int, o op) error {
			if !done && strings.HasPrefix(o.String(), c.at) {
				done = true
				l.shell(ifb(c.put))
			}
			return nil
		})
		if err := e.Apply([]fault.Fault{c.second}); !errors.Is(err, fault.ErrForeign) || strings.Contains(err.Error(), "roll back") {
			t.Errorf("%s: %v", name, err)
		}
		l.shell(ifb(c.remove))
		state, err := e.State(c.first)
		l.must(err)
		if !done || len(state.Drift) > 0 {
			t.Errorf("%s: after the rollback: %s", name, state.Drift)
		}
		if after := l.configuration(); len(c.first) == 0 && after != before {
			t.Errorf("%s: before:\n%s\nafter:\n%s", name, before, after)
		}
		l.apply(l.engine(nil))
	}
}

var errMeddled = errors.New("meddled")

// At one change or another, the kernel refuses it, or the agent dies: the first
// comes back to the faults before, the second goes on to any others.
func TestKernelChangesCanFail(t *testing.T) {
	l := newLab(t)
	first := []fault.Fault{everything("all", fault.Both, 3*ms), matched("peer", fault.Match{Direction: fault.Egress, Peers: prefixes("10.0.0.0/8")}, 2*ms)}
	second := []fault.Fault{matched("in", fault.Match{Direction: fault.Ingress, Protocol: "tcp"}, ms), matched("peer", fault.Match{Direction: fault.Egress, Peers: prefixes("10.0.0.0/9")}, 5*ms)}
	for _, c := range []struct{ first, second []fault.Fault }{{nil, first}, {first, second}, {second, nil}} {
		for _, dies := range []bool{false, true} {
			for n := 1; ; n += 1 + n/6 {
				e := l.engine(nil)
				l.must(e.Apply(c.first))
				l.meddle(e, func(i int, _ op) error {
					if i == n || dies && i > n {
						return errMeddled
					}
					return nil
				})
				err := e.Apply(c.second)
				if err == nil {
					break
				}
				if !dies {
					if state, err := e.State(c.first); err != nil || len(state.Drift) > 0 || len(state.Found) != len(c.first) {
						t.Fatalf("failing at change %d: %+v, %v", n, state, err)
					}
				}
				next := l.engine(nil)
				third := []fault.Fault{everything("third", fault.Both, 7*ms)}
				if err := next.Apply(third); err != nil {
					t.Fatalf("after change %d (dies %t): %v", n, dies, err)
				}
				if state, err := next.State(third); err != nil || len(state.Drift) > 0 || len(state.Found) != 1 {
					t.Fatalf("after change %d (dies %t): %+v, %v", n, dies, state, err)
				}
			}
		}
	}
	l.apply(l.engine(nil))
	if got := l.shell("tc qdisc show dev eth0; ip link show type ifb"); strings.Contains(got, "7de1") || strings.Contains(got, "tidelay") {
		t.Errorf("left: %s", got)
	}
}

// The probe says what this kernel lacks and leaves nothing behind, not even of
// a probe that was killed.
func TestKernelProbe(t *testing.T) {
	l := newLab(t)
	l.must(netlink.LinkAdd(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: probeName}}))
	left, err := netlink.LinkByName(probeName)
	l.must(err)
	l.must(netlink.LinkAdd(&netlink.Ifb{LinkAttrs: netlink.LinkAttrs{Name: ifbName(left.Attrs().Index)}}))
	lacks, err := Probe(l.engine(nil).log)
	l.must(err)
	for feature, reason := range lacks {
		t.Logf("lacks %s: %s", feature, reason)
	}
	// Each of these is only lacking where trying it by hand fails.
	l.shell("ip link add hand type dummy; ip link set hand up; tc qdisc add dev hand root handle 1: prio; tc qdisc add dev hand parent 1:1 netem delay 1ms")
	_, refused := l.pod.Output("tc qdisc add dev hand parent 1:2 netem duplicate 1%")
	if _, lacking := lacks[fault.FeatureDuplicateBeside]; lacking != (refused != nil) {
		t.Errorf("duplicate beside others: lacking %t, by hand: %v", lacking, refused)
	}
	for _, feature := range []fault.Feature{fault.FeatureIngress, fault.FeatureDuplicate, fault.FeatureCorrupt, fault.FeatureRate} {
		if reason, lacking := lacks[feature]; lacking {
			t.Errorf("lacks %s: %s", feature, reason)
		}
	}
	seed := uint64(1)
	seeded := everything("x", fault.Egress, ms)
	seeded.Impairment.Loss, seeded.Impairment.Seed = &fault.Chance{Percent: 1}, &seed
	err = l.engine(lacks).Apply([]fault.Fault{seeded})
	if _, lacking := lacks[fault.FeatureSeed]; lacking != errors.Is(err, fault.ErrUnsupported) {
		t.Errorf("a seed: lacking %t, Apply: %v", lacking, err)
	}
	if got := l.pod.Exec(t, "ip -o link show"); strings.Contains(got, "tidelay") {
		t.Errorf("left: %s", got)
	}
}

// Between a duplicating netem and others, kernels that refuse them together
// still get.
func TestKernelDuplicatingAlone(t *testing.T) {
	l := newLab(t)
	lacks, err := Probe(l.engine(nil).log)
	l.must(err)
	e := l.engine(lacks)
	twice := everything("twice", fault.Both, 0)
	twice.Impairment.Duplicate = &fault.Chance{Percent: fault.Hundred}
	for range 2 {
		l.apply(e, several(3)...)
		l.apply(e, twice)
		if got := l.flow(l.peer(1), 10, 100*ms).Run(t); len(got.Arrivals) != 20 || got.Duplicates() != 10 {
			t.Errorf("%d datagrams of 10 sent twice", len(got.Arrivals))
		}
	}
	l.apply(e, everything("twice", fault.Egress, ms))
	l.apply(e)
}

// Whatever part of ours somebody deletes, the next set makes it again, also by
// another process, and nothing stays when the faults end.
func TestKernelRepairsWhatIsDeleted(t *testing.T) {
	both, out := []fault.Fault{everything("x", fault.Both, ms)}, []fault.Fault{everything("x", fault.Egress, ms)}
	l := newLab(t)
	ifb := strings.NewReplacer("%ifb%", ifbName(l.device.Index)).Replace
	clean := l.configuration()
	for name, c := range map[string]struct {
		faults []fault.Fault
		script string
	}{
		"the root":                       {out, "tc qdisc del dev eth0 root"},
		"the root, beside ingress":       {both, "tc qdisc del dev eth0 root"},
		"the ingress qdisc":              {both, "tc qdisc del dev eth0 ingress"},
		"the empty ingress qdisc":        {out, "tc qdisc del dev eth0 ingress"},
		"the ifb":                        {both, "ip link del %ifb%"},
		"the ifb's root":                 {both, "tc qdisc del dev %ifb% root"},
		"the ifb is down":                {both, "ip link set %ifb% down"},
		"a redirect":                     {both, "tc filter del dev eth0 parent ffff: protocol ip prio 1"},
		"all filters of ingress":         {both, "tc filter del dev eth0 parent ffff:"},
		"the root and the ifb":           {both, "tc qdisc del dev eth0 root; ip link del %ifb%"},
		"the root, ifb and redirects":    {both, "tc qdisc del dev eth0 root; tc filter del dev eth0 parent ffff: protocol ip prio 1; tc filter del dev eth0 parent ffff: protocol ipv6 prio 2; ip link del %ifb%"},
		"the root and the ingress qdisc": {both, "tc qdisc del dev eth0 root; tc qdisc del dev eth0 ingress"},
		"the claim on the root":          {out, "tc filter del dev eth0 parent 7de1: protocol ip prio 9"},
		"the claim on the ingress qdisc": {out, "tc filter del dev eth0 parent ffff: protocol ip prio 9"},
		"all filters of the root":        {out, "tc filter del dev eth0 parent 7de1:"},
		"a netem":                        {out, "tc qdisc del dev eth0 parent 7de1:2"},
		"the clean band's queue":         {out, "tc qdisc del dev eth0 parent 7de1:1"},
	} {
		l.apply(l.engine(nil), c.faults...)
		l.shell(ifb(c.script))
		e := l.engine(nil) // another process, which knows the least
		if _, err := e.State(c.faults); err != nil {
			t.Errorf("%s: State: %v", name, err)
		}
		// A set of ingress needs the part that is left most.
		if err := e.Apply([]fault.Fault{everything("other", fault.Ingress, 2*ms)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		l.apply(e, c.faults...)
		l.apply(e)
		if left := l.configuration(); left != clean {
			t.Errorf("%s: this is left:\n%s", name, left)
		}
	}
}
