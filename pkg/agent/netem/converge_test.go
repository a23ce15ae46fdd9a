package netem

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// randomFaults returns a set without conflicts of up to five faults.
func randomFaults(random *rand.Rand) []fault.Fault {
	var many []string // which are hashed
	for i := range 10 {
		many = append(many, fmt.Sprintf("10.0.0.%d/32", 5+i), fmt.Sprintf("10.%d.1.9/32", i), fmt.Sprintf("fd00::%d/128", 5+i), fmt.Sprintf("fd00:%d::9/128", i))
	}
	peers := [][]string{nil, nil, many, {"10.0.0.9/32"}, {"10.0.0.0/24", "fd00::/64"}, {"10.0.0.0/16"}, {"fd00::9/128"}, {"::/0"}}
	for {
		var all []fault.Fault
		for _, name := range []string{"a", "b", "c", "d", "e"}[:random.IntN(6)] {
			f := everything(name, []fault.Direction{fault.Egress, fault.Ingress, fault.Both}[random.IntN(3)], time.Duration(1+random.IntN(3))*ms)
			f.Match.Peers = prefixes(peers[random.IntN(len(peers))]...)
			f.Match.Protocol = []string{"", "", "tcp", "udp"}[random.IntN(4)]
			if random.IntN(3) == 0 {
				f.Match.RemotePorts = portRange(20160, uint16(20160+random.IntN(3)))
			}
			if random.IntN(4) == 0 {
				f.Impairment.Jitter, f.Impairment.Distribution = ms, []fault.Distribution{fault.Uniform, fault.Normal}[random.IntN(2)]
			}
			if random.IntN(4) == 0 {
				f.Impairment.Rate = &fault.Rate{BitsPerSecond: []uint64{1_000_000, 2_000_000, fault.MaxRate}[random.IntN(3)]}
			}
			all = append(all, f)
		}
		if set, err := fault.NewSet(all); err == nil {
			return set
		}
	}
}

// While one set of faults replaces another, every packet meets its old or its new
// fault at every moment. No change drops packets of a fault.
func TestEveryPacketMeetsItsOldOrItsNewFault(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for round := range 25 {
		k := newFake(t)
		e := k.engine(nil)
		var old []fault.Fault
		for step := range 6 {
			if random.IntN(5) == 0 {
				e = k.engine(nil) // another process
			}
			next := randomFaults(random)
			what := fmt.Sprintf("round %d.%d: %v to %v", round, step, old, next)
			check := k.watch(change{before: expected(e, old), after: expected(e, next), what: what})
			k.beforeChange = func(o op) error { check(o.String()); return nil }
			k.onReset = func(o op) { t.Errorf("%s: %s drops packets", what, o) }
			if err := e.Apply(next); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			check("the end")
			k.is(expected(e, next), what)
			if len(next) == 0 && (k.trees[egress].ours() || k.trees[ingress].ours()) {
				t.Errorf("%s: something is left", what)
			}
			if hooked := k.hook.present; hooked != (len(next) > 0) {
				t.Errorf("%s: an ingress qdisc is there: %t", what, hooked)
			}
			old = next
		}
	}
}

// An agent can be killed between any two changes. The next one then comes to any
// other set of faults, and meanwhile every packet meets what it met before or its
// new fault.
func TestAnyInterruptedChangeConverges(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for round := range 5 {
		first, second, third := randomFaults(random), randomFaults(random), randomFaults(random)
		for n := 1; ; n++ {
			k := newFake(t)
			e := k.engine(nil)
			if err := e.Apply(first); err != nil {
				t.Fatal(err)
			}
			k.failAt(n, true)
			if err := e.Apply(second); err == nil {
				break // fewer than n changes
			}
			next := k.engine(nil)
			what := fmt.Sprintf("round %d: %v to %v, killed before change %d, to %v", round, first, second, n, third)
			check := k.watch(change{before: k.verdicts(), after: expected(next, third), what: what})
			k.beforeChange = func(o op) error { check(o.String()); return nil }
			if err := next.Apply(third); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			check("the end")
			if state, err := next.State(third); err != nil || len(state.Drift) > 0 {
				t.Fatalf("%s: in the end: %v, %v", what, state.Drift, err)
			}
		}
	}
}

// A change can fail at any point. Then every packet meets what it met before, and
// the engine still knows which fault is where.
func TestAFailureLeavesWhatWasThere(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	for range 8 {
		first, second := randomFaults(random), randomFaults(random)
		for n := 1; ; n++ {
			k := newFake(t)
			e := k.engine(nil)
			if err := e.Apply(first); err != nil {
				t.Fatal(err)
			}
			before := k.verdicts()
			k.failAt(n, false)
			err := e.Apply(second)
			if err == nil {
				break
			}
			what := fmt.Sprintf("%v to %v, failing at change %d", first, second, n)
			if !errors.Is(err, errInjected) || strings.Contains(err.Error(), "roll back") {
				t.Fatalf("%s: %v", what, err)
			}
			k.is(before, what)
			k.beforeChange, k.ops = nil, nil
			if err := e.Apply(first); err != nil {
				t.Fatalf("%s, then back: %v", what, err)
			}
			for _, o := range k.ops { // a rollback may end in another block, never in other netems
				switch o.(type) {
				case setQdisc, setNetem:
					t.Fatalf("%s, then back: %s", what, o)
				}
			}
			if err := e.Apply(second); err != nil {
				t.Fatalf("%s, then again: %v", what, err)
			}
		}
	}
}
