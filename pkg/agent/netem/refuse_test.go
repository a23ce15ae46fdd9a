package netem

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

func TestRefusals(t *testing.T) {
	ported := func(peers int) fault.Fault {
		m := fault.Match{Direction: fault.Egress, Protocol: "tcp", RemotePorts: portRange(1, 65534)}
		for i := range peers {
			m.Peers = append(m.Peers, prefixes(fmt.Sprintf("10.0.7.%d/32", i))...)
		}
		return matched("ported", m, ms)
	}
	jitter := everything("j", fault.Egress, 5*time.Second)
	jitter.Impairment.Jitter, jitter.Impairment.Distribution = maxJitter+1, fault.Uniform
	exact := everything("j", fault.Egress, 5*time.Second)
	exact.Impairment.Jitter, exact.Impairment.Distribution = maxJitter, fault.Uniform
	for name, c := range map[string]struct {
		f     fault.Fault
		field string
	}{
		"30 filters for each of 66 peers": {ported(66), ""},
		"of 67 peers":                     {ported(67), "faults"},
		"the longest jitter":              {exact, ""},
		"a longer one":                    {jitter, "jitter"},
	} {
		k := newFake(t)
		err := k.engine(nil).Apply([]fault.Fault{c.f})
		var invalid fault.Invalid
		switch {
		case c.field == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.field != "" && (!errors.As(err, &invalid) || invalid[0].Field != c.field || len(k.ops) > 0):
			t.Errorf("%s: %v after %d changes", name, err, len(k.ops))
		}
	}
}

func TestForeignStateIsLeftAlone(t *testing.T) {
	faults := []fault.Fault{everything("x", fault.Both, ms)}
	for name, c := range map[string]struct {
		p        place
		before   []fault.Fault
		meddle   func(*tree)
		clearing bool // may clear
	}{
		"a root":                 {egress, nil, func(t *tree) { t.taken = "root qdisc htb 1:" }, true},
		"a clsact":               {ingress, nil, func(t *tree) { t.taken = "qdisc clsact ffff:" }, true},
		"a filter on our root":   {egress, []fault.Fault{everything("y", fault.Egress, ms)}, func(t *tree) { t.invaded = "u32 filter with priority 99 on 7de1:" }, false},
		"a filter on our hook":   {ingress, []fault.Fault{everything("y", fault.Ingress, ms)}, func(t *tree) { t.invaded = "u32 filter with priority 99" }, false},
		"a qdisc on our ingress": {ingress, []fault.Fault{everything("y", fault.Ingress, ms)}, func(t *tree) { t.invaded = "qdisc sfq 8001: inside 7de1:" }, false},
	} {
		k := newFake(t)
		e := k.engine(nil)
		if err := e.Apply(c.before); err != nil {
			t.Fatal(err)
		}
		c.meddle(k.trees[c.p])
		k.ops = nil
		err := e.Apply(faults)
		what := k.trees[c.p].taken + k.trees[c.p].invaded
		if !errors.Is(err, fault.ErrForeign) || len(k.ops) > 0 || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v after\n%s", name, err, lines(k.ops))
		}
		if err := e.Apply(nil); (err == nil) != c.clearing || len(k.ops) > 0 {
			t.Errorf("%s: clearing: %v after\n%s", name, err, lines(k.ops))
		}
		if state, err := e.State(faults); err != nil || !strings.Contains(strings.Join(state.Drift, "\n"), what) {
			t.Errorf("%s: State %+v, %v", name, state, err)
		}
	}
}

// A clsact in use stops faults of ingress and no others, and stays.
func TestAForeignIngressQdisc(t *testing.T) {
	k := newFake(t)
	k.hook.taken = "qdisc clsact ffff:"
	e := k.engine(nil)
	out := everything("out", fault.Egress, ms)
	if err := e.Apply([]fault.Fault{everything("in", fault.Ingress, ms)}); !errors.Is(err, fault.ErrForeign) || !strings.Contains(err.Error(), "eth0 ingress: qdisc clsact ffff:") || len(k.ops) > 0 {
		t.Errorf("ingress: %v after\n%s", err, lines(k.ops))
	}
	if err := e.Apply([]fault.Fault{out}); err != nil {
		t.Error(err)
	}
	if state, err := e.State([]fault.Fault{out}); err != nil || len(state.Drift) > 0 || len(state.Found) != 1 {
		t.Errorf("State: %+v, %v", state, err)
	}
	if err := e.Apply(nil); err != nil || k.trees[egress].ours() || k.hook.taken == "" {
		t.Errorf("clearing: %v, %+v", err, k.hook)
	}
	k.hook.taken, k.hook.invaded = "", "u32 filter with priority 7 on qdisc ingress ffff:"
	if err := e.Apply(nil); !errors.Is(err, fault.ErrForeign) {
		t.Errorf("a filter beside our redirects: %v", err)
	}
}
