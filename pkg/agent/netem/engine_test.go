package netem

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

const ms = time.Millisecond

// lines are operations as commands.
func lines(ops []op) string {
	var all []string
	for _, o := range ops {
		all = append(all, o.String())
	}
	return strings.Join(all, "\n")
}

// twelve faults with different peers, on egress.
func twelve() []fault.Fault {
	var all []fault.Fault
	for i := range 12 {
		all = append(all, matched(fmt.Sprintf("f%02d", i), fault.Match{Direction: fault.Egress, Peers: prefixes(fmt.Sprintf("10.0.7.%d/32", i))}, time.Duration(i+1)*ms))
	}
	return all
}

func TestWhatIsTheSameIsNotTouched(t *testing.T) {
	k := newFake(t)
	e := k.engine(nil)
	set := twelve()
	if err := e.Apply(set); err != nil {
		t.Fatal(err)
	}
	for name, engine := range map[string]*Engine{"again": e, "by another process": k.engine(nil)} {
		k.ops = nil
		if err := engine.Apply(set); err != nil || len(k.ops) > 0 {
			t.Errorf("applied %s: %v\n%s", name, err, lines(k.ops))
		}
	}
	k.ops = nil
	changed := slices.Clone(set)
	changed[3].Impairment.Delay = time.Second
	if err := e.Apply(changed); err != nil {
		t.Fatal(err)
	}
	want := "tc qdisc replace dev eth0 parent 7de1:5 handle 7e05: netem limit 131072 delay 1s"
	if got := lines(k.ops); got != want {
		t.Errorf("changing one delay took\n%s\nwant\n%s", got, want)
	}
	k.ops = nil
	if err := e.Apply(slices.Delete(slices.Clone(changed), 5, 6)); err != nil {
		t.Fatal(err)
	}
	for _, o := range k.ops {
		if set, ok := o.(setQdisc); ok {
			t.Errorf("removing one fault took %s", set)
		}
	}
	if last := k.ops[len(k.ops)-1].String(); last != "tc qdisc del dev eth0 parent 7de1:7 handle 7e07:" {
		t.Errorf("removing one fault ended in %s", last)
	}
}

// The kernel does not report a table, and reports a seed of its own when none
// was given, so these are remembered; another process can't and writes again,
// in place.
func TestWhatTheKernelDoesNotTell(t *testing.T) {
	k := newFake(t)
	e := k.engine(nil)
	seed := uint64(7)
	jittery := everything("j", fault.Egress, 10*ms)
	jittery.Impairment.Jitter, jittery.Impairment.Distribution = ms, fault.Normal
	apply := func(e *Engine, f fault.Fault, changes int) {
		t.Helper()
		k.ops = nil
		if err := e.Apply([]fault.Fault{f}); err != nil || len(k.ops) != changes {
			t.Errorf("%v\n%s\nwant %d changes", err, lines(k.ops), changes)
		}
		got := k.trees[egress].netems[bandFirst].setting
		if got.distribution != f.Impairment.Distribution || f.Impairment.Seed != nil && got.seed != seed {
			t.Errorf("the kernel has distribution %q and seed %d", got.distribution, got.seed)
		}
	}
	if err := e.Apply([]fault.Fault{jittery}); err != nil {
		t.Fatal(err)
	}
	apply(e, jittery, 0)
	pareto := jittery
	pareto.Impairment.Distribution = fault.Pareto
	apply(e, pareto, 1)
	seeded := pareto
	seeded.Impairment.Seed = &seed
	apply(e, seeded, 1)
	apply(e, seeded, 0)
	other := k.engine(nil)
	apply(other, seeded, 1)
	apply(other, seeded, 0)
	apply(other, pareto, 1) // a seed that is not asked for any more is the kernel's choice again
	apply(other, pareto, 0)
}

// named returns n faults of different peers.
func named(prefix string, n int, delay time.Duration) []fault.Fault {
	var all []fault.Fault
	for i := range n {
		all = append(all, matched(fmt.Sprintf("%s%02d", prefix, i), fault.Match{Direction: fault.Egress, Peers: prefixes(fmt.Sprintf("10.%d.0.0/16", i))}, delay))
	}
	return all
}

// Fifteen faults take all bands, and so many others still replace them.
func TestAllBandsAtOnce(t *testing.T) {
	k := newFake(t)
	e := k.engine(nil)
	for i, set := range [][]fault.Fault{
		named("a", fault.MaxFaults, ms),
		named("b", fault.MaxFaults, 2*ms), // others, of the same packets
		append(named("b", 8, 3*ms), matched("c", fault.Match{Direction: fault.Egress, Protocol: "udp"}, ms)), // some change, some go, one comes
		named("b", fault.MaxFaults, 4*ms),
		slices.Concat(named("b", 14, 5*ms), []fault.Fault{matched("d", fault.Match{Direction: fault.Egress, Protocol: "udp"}, ms)}), // all bands full, and all change
	} {
		set, err := fault.NewSet(set)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Apply(set); err != nil {
			t.Fatalf("set %d: %v", i, err)
		}
		k.is(expected(e, set), fmt.Sprintf("set %d", i))
		if n := len(k.trees[egress].netems); n != len(set) {
			t.Errorf("set %d: %d netems for %d faults", i, n, len(set))
		}
	}
}

// Kernels that refuse a duplicating netem beside another one still get from one
// to the other.
func TestDuplicatingAlone(t *testing.T) {
	k := newFake(t)
	k.alone = true
	e := k.engine(map[fault.Feature]string{fault.FeatureDuplicateBeside: "this kernel refuses it"})
	twice := everything("twice", fault.Both, 0)
	twice.Impairment.Duplicate = &fault.Chance{Percent: fault.Hundred}
	again := everything("again", fault.Egress, 0)
	again.Impairment.Duplicate = twice.Impairment.Duplicate
	for i, set := range [][]fault.Fault{named("a", 3, ms), {twice}, {again}, named("a", 1, ms), {everything("twice", fault.Egress, ms)}, {twice}, named("b", 2, ms)} {
		if err := e.Apply(set); err != nil {
			t.Fatalf("set %d: %v", i, err)
		}
	}
	if err := e.Apply(append(named("a", 1, ms), twice)); !errors.Is(err, fault.ErrUnsupported) {
		t.Errorf("duplicating beside another: %v", err)
	}
	k.failAt(4, false)
	before := k.verdicts()
	if err := e.Apply([]fault.Fault{twice}); !errors.Is(err, errInjected) || strings.Contains(err.Error(), "roll back") {
		t.Errorf("failing: %v", err)
	}
	k.is(before, "after a failure")
}

// Agents killed again and again leave blocks up to both ends; there is still a
// way on.
func TestBlocksRunOut(t *testing.T) {
	one := func(value uint32) []filter {
		return []filter{{keys: keys{{offset: 16, mask: 0xff, value: value}}, band: bandClean}}
	}
	old := []block{{0, one(1)}, {1, one(2)}, {2, one(3)}, {3, one(4)}}
	for name, c := range map[string]struct {
		list []filter
		want string
	}{
		"another list":      {one(9), "del 7, add 7, del 5, del 3, del 1"},
		"one that is there": {one(2), "del 7, del 5, del 1"},
		"nothing":           {nil, "del 7, del 5, del 3, del 1"},
	} {
		var got []string
		for _, o := range leadOps(device, ipv4, old, c.list) {
			switch o := o.(type) {
			case addFilter:
				got = append(got, fmt.Sprintf("add %d", priority(o.block, o.family)))
			case deleteBlock:
				got = append(got, fmt.Sprintf("del %d", priority(o.block, o.family)))
			}
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %s, want %s", name, strings.Join(got, ", "), c.want)
		}
	}
}
