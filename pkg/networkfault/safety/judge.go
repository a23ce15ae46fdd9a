package safety

import (
	"slices"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
)

const (
	// severingLoss is the loss of packets that severs a pair, and severingRTT what is
	// added to the round trip of a pair without PD.
	severingLoss = fault.Hundred / 2
	severingRTT  = 5 * time.Second
	// longDelay is the longest that is added to a round trip without LongDelay.
	longDelay = time.Second
)

// Object is a fault or a topology of a TidbCluster, as far as it is judged.
type Object struct {
	// Name is that of the compile.Object, which says what it is called in a message.
	Name string
	// Allow are the rules that it may break.
	Allow []v1alpha1.Allowance
	// Starting is whether it has not started. UnhealthyStart and Upgrade are rules for
	// such objects only. The others run: they were in force when the facts were learnt.
	Starting bool
	// Length is its whole life; 0 for until it is deleted.
	Length time.Duration
	// Ports is whether it is for some ports only. It is judged as if it were for all of
	// them: what listens where is built into TiDB Operator, and not in a TidbCluster.
	Ports bool
}

// outlasts reports whether an object lasts longer than a time.
func (o Object) outlasts(d time.Duration) bool { return o.Length <= 0 || o.Length > d }

// Refusal is a rule that an object breaks.
type Refusal struct {
	Object string
	Rule   v1alpha1.Allowance
	// Pods are those that matter, by name.
	Pods []string
	// Message says why, and what to set.
	Message string
	// Momentary is whether the object is starting and would not break the rule if all were
	// healthy, known and unchanged that is not so at the moment.
	Momentary bool
}

// Judge returns the rules that objects break and that they don't allow: those of an
// object together, in a fixed order. Objects are judged in the order given, which is that
// of precedence. One that is refused takes no part in what comes after it, and one is
// refused only for what it adds to those before it.
//
// effects returns what some of the objects, by name, do together. It is costly, and never
// asked twice about the same ones, nor about none. If all objects together break no rule
// that one of them does not allow, it is asked once about all; if pods are cut off, also
// about those that outlast TiDB Operator's patience; if the cluster is not healthy, also
// about those that run. A long delay that another object's partition hides is judged when
// that has ended.
func Judge(f Facts, objects []Object, effects func(names []string) map[compile.Pair]compile.Effect) []Refusal {
	j := newJudge(f, objects, effects)
	// If nobody breaks a rule even if all is his doing, then nobody breaks one.
	all := j.state(objects)
	if !slices.ContainsFunc(objects, func(o Object) bool { return len(j.broken(o, state{}, all)) > 0 }) {
		return nil
	}
	var refused []Refusal
	var accepted []Object
	var before state
	for _, o := range objects {
		next := append(slices.Clone(accepted), o)
		with := j.state(next)
		if broken := j.broken(o, before, with); len(broken) > 0 {
			refused = append(refused, broken...)
			continue
		}
		accepted, before = next, with
	}
	return refused
}

// judge is what the judgement of several objects has in common.
type judge struct {
	facts   Facts
	effects func(names []string) map[compile.Pair]compile.Effect
	// known has what effects answered, by the names that it was asked about.
	known map[string]map[compile.Pair]compile.Effect
	// ours are the pairs that the objects that run sever, also those that are refused
	// now: they were in force when the facts were learnt.
	ours severed
}

func newJudge(f Facts, objects []Object, effects func(names []string) map[compile.Pair]compile.Effect) *judge {
	j := &judge{facts: f, effects: effects, known: make(map[string]map[compile.Pair]compile.Effect)}
	if len(f.problems(nil)) > 0 { // else there is nothing to explain
		j.ours = f.severedBy(j.ask(objects, func(o Object) bool { return !o.Starting }))
	}
	return j
}

// ask returns what those of some objects that meet a condition do together.
func (j *judge) ask(objects []Object, condition func(Object) bool) map[compile.Pair]compile.Effect {
	var names []string
	for _, o := range objects {
		if condition(o) {
			names = append(names, o.Name)
		}
	}
	key := strings.Join(names, "\n")
	if _, ok := j.known[key]; !ok && len(names) > 0 {
		j.known[key] = j.effects(names)
	}
	return j.known[key]
}

// victims are the pods of the pairs that the objects that run sever.
func (j *judge) victims() map[string]bool {
	pods := make(map[string]bool)
	for pair := range j.ours {
		pods[pair.A], pods[pair.B] = true, true
	}
	return pods
}

// state is what some objects do together; the zero value is that of none.
type state struct {
	effects map[compile.Pair]compile.Effect
	severed severed
	// cutOff are the pods that may be cut off from PD's leader by those objects alone that
	// last longer than a time, which is the patience of TiDB Operator with some component.
	cutOff  map[time.Duration]map[string]bool
	graph   graph
	verdict verdict
}

func (j *judge) state(objects []Object) state {
	effects := j.ask(objects, func(Object) bool { return true })
	s := state{effects: effects, severed: j.facts.severedBy(effects), cutOff: make(map[time.Duration]map[string]bool)}
	if len(s.severed) == 0 {
		return s
	}
	for _, c := range j.facts.components {
		patience, replaces := c.patience()
		if _, known := s.cutOff[patience]; replaces && !known {
			s.cutOff[patience] = j.facts.cutOff(j.facts.severedBy(j.ask(objects, func(o Object) bool { return o.outlasts(patience) })))
		}
	}
	if j.facts.unknown == "" {
		s.graph = j.facts.graph(s.severed, j.ours)
		s.verdict = s.graph.verdict()
	}
	return s
}

// broken returns the rules that an object breaks and does not allow, given what there is
// before it and with it.
func (j *judge) broken(o Object, before, with state) []Refusal {
	var all []Refusal
	for _, rule := range []struct {
		name  v1alpha1.Allowance
		check func(Object, state, state) *finding
	}{
		{v1alpha1.QuorumLoss, j.quorumLoss},
		{v1alpha1.Failover, j.failover},
		{v1alpha1.LongDelay, j.longDelay},
		{v1alpha1.UnhealthyStart, j.unhealthyStart},
		{v1alpha1.Upgrade, j.upgrade},
	} {
		if slices.Contains(o.Allow, rule.name) {
			continue
		}
		if found := rule.check(o, before, with); found != nil {
			all = append(all, Refusal{o.Name, rule.name, sorted(found.pods), found.message, found.momentary})
		}
	}
	return all
}
