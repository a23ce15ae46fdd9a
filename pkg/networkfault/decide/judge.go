package decide

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/safety"
)

// atPlace returns the age by which a compilation gives precedence.
func atPlace(place int) time.Time { return time.Unix(int64(place), 0) }

// compile compiles objects, which are in order of precedence. The same objects are
// compiled once.
func (d *decision) compile(objects []*object) compile.Plan {
	all := make([]compile.Object, 0, len(objects))
	names := make([]string, 0, len(objects))
	for place, o := range objects {
		one := o.compiled()
		one.Name, one.Created = o.key, atPlace(place)
		all = append(all, one)
		names = append(names, o.key)
	}
	key := strings.Join(names, "\n")
	plan, known := d.plans[key]
	if !known {
		plan = compile.Compile(all, d.compiledPods())
		d.plans[key] = plan
	}
	return plan
}

// combine refuses the objects that can't be combined with those before them, and those that
// would start at no pod.
func (d *decision) combine(objects []*object) []*object {
	plan, refused := d.compileWithRoom(objects), map[string]compile.Refusal{}
	for _, r := range plan.Refused {
		refused[r.Object] = r
	}
	return slices.DeleteFunc(objects, func(o *object) bool {
		r, is := refused[o.key]
		if is {
			message := r.Problem
			if r.With != "" {
				message = fmt.Sprintf("can't be combined with %s: %s", compile.Describe(r.With), r.Problem)
			}
			d.refuse(o, ReasonConflict, message)
			return true
		}
		if o.was.StartedAt == nil {
			if why := d.nobodyCan(o, plan); why != nil {
				d.refuse(o, why.reason, why.message)
				return true
			}
		}
		return false
	})
}

// judge refuses the objects that break a rule of safety, or has them wait if that may be
// over in a moment.
func (d *decision) judge(objects []*object) []*object {
	if len(objects) == 0 {
		return nil
	}
	broken := d.broken(objects)
	return slices.DeleteFunc(objects, func(o *object) bool {
		rules := broken[o.key]
		if len(rules) == 0 {
			d.setSafe(o)
			return false
		}
		for _, r := range rules {
			d.result.Broken[o.key] = append(d.result.Broken[o.key], r.Rule)
		}
		message := messageOf(rules)
		if d.lookAgain(o, rules, message) {
			return true
		}
		d.setCondition(o, v1alpha1.Safe, false, string(rules[0].Rule), message)
		d.refuse(o, string(rules[0].Rule), message)
		return true
	})
}

// broken returns the rules that each of some objects breaks, by key.
func (d *decision) broken(objects []*object) map[string][]safety.Refusal {
	asked := make([]safety.Object, 0, len(objects))
	for _, o := range objects {
		asked = append(asked, o.judged())
	}
	all := map[string][]safety.Refusal{}
	for _, r := range safety.Judge(d.facts(), asked, d.effects(slices.Clone(objects))) {
		all[r.Object] = append(all[r.Object], r)
	}
	return all
}

// judged returns an object as package safety takes it.
func (o *object) judged() safety.Object {
	return safety.Object{Name: o.key, Allow: o.allow, Starting: !o.isRunning(), Length: o.length, Ports: o.narrows()}
}

// setSafe notes that no rule refuses an object. The time of the condition is that of the
// object as it is now, also if it was safe before it was changed: it tells its place among
// others.
func (d *decision) setSafe(o *object) {
	if safe := meta.FindStatusCondition(o.life.Conditions, v1alpha1.Safe); safe != nil && !o.runs() {
		safe.Status = metav1.ConditionUnknown
	}
	d.setCondition(o, v1alpha1.Safe, true, "Safe", "no rule of safety refuses it")
}

// facts returns what safety knows of the TidbCluster.
func (d *decision) facts() safety.Facts {
	pods := make([]safety.Pod, 0, len(d.Pods))
	for _, p := range d.Pods {
		pods = append(pods, safety.Pod{Name: p.Name, Component: p.Component, Zone: p.Zone, Ready: p.Ready})
	}
	return safety.FactsOf(d.Cluster, pods)
}

// effects returns the function that says what some objects do to pairs of pods.
func (d *decision) effects(objects []*object) func(names []string) map[compile.Pair]compile.Effect {
	return func(names []string) map[compile.Pair]compile.Effect {
		var some []*object
		for _, o := range objects {
			if slices.Contains(names, o.key) {
				some = append(some, o)
			}
		}
		return d.compile(some).Effects(d.compiledPods())
	}
}

// takeBack refuses objects that an agent refused before they were in force everywhere,
// unless they allow to be in force at some pods only.
func (d *decision) takeBack(objects []*object) []*object {
	plan := d.compile(objects)
	for _, p := range d.Pods {
		if p.State.Failed == "" || len(p.State.Refused) == 0 || !isPart(p.State.Refused, plan.Faults[p.Name]) {
			continue
		}
		if i := blamed(p.State.Refused, objects); i >= 0 {
			// It has not been in force everywhere, so it has not ended and can be changed. Then
			// it starts anew.
			objects[i].life.StartedAt, objects[i].life.ExpiresAt = nil, nil
			objects[i].forget()
			d.stop(objects[i], v1alpha1.Refused, ReasonAgentRefused, withEnd(fmt.Sprintf("the agent of pod %s: %s", p.Name, p.State.Failed), TriedAgain))
			return d.takeBack(slices.Delete(objects, i, i+1))
		}
	}
	return objects
}

// blamed returns the place of the object that an agent's refusal is about: the last of
// those in the refused faults that were not in force everywhere before. It is -1 for none.
// One that may be in force at some pods only is blamed if others would lose packets by it.
func blamed(refused []compile.Fault, objects []*object) int {
	for i, o := range slices.Backward(objects) {
		mayBePartial := slices.Contains(o.allow, v1alpha1.Partial)
		isIn := slices.ContainsFunc(refused, func(f compile.Fault) bool {
			return slices.Contains(f.Objects, o.key) && (!mayBePartial || len(f.Objects) > 1)
		})
		if isIn && !o.wasApplied() {
			return i
		}
	}
	return -1
}

// isPart reports whether all faults are among others, as they are.
func isPart(faults, others []compile.Fault) bool {
	for _, f := range faults {
		if !slices.ContainsFunc(others, func(other compile.Fault) bool { return reflect.DeepEqual(f.Fault, other.Fault) }) {
			return false
		}
	}
	return true
}
