package networkfault

import (
	"cmp"
	"reflect"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/networkfault/facts"
	"github.com/tidelay/tidelay/pkg/networkfault/surveyor"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

// Surveyor has agents measure.
type Surveyor interface {
	// Set says what the agents of a TidbCluster are to measure. It does not wait.
	Set(cluster types.NamespacedName, all []surveyor.Assignment)
	// Verdicts returns what is known of the pairs that were set last.
	Verdicts(cluster types.NamespacedName) []verify.Result
}

// survey has agents measure what was decided, and adds what they have measured to the
// statuses.
func (w *work) survey(decision decide.Decision, states map[types.UID]decide.AgentState) {
	plan := verify.New(w.podsToVerify(decision, states))
	w.options.Surveyor.Set(w.key, w.assignments(plan.Tasks))
	results := w.options.Surveyor.Verdicts(w.key)
	for _, object := range w.objects {
		after, key := decided(object, decision), keyOf(object)
		if after == nil {
			continue
		}
		has := func(pod string) bool {
			return slices.ContainsFunc(decision.Faults[pod], func(f decide.Fault) bool { return slices.Contains(f.Objects, key) })
		}
		found := verify.Tell(key, results, has, plan.Unseen[key])
		tellVerified(lifeOf(after), found, w.memory.surveyed(object, found), w.now)
		put(after, decision)
	}
}

// podsToVerify returns the pods as package verify takes them. Their zones are those of the
// topology that is in force, or else those of their nodes.
func (o *observation) podsToVerify(decision decide.Decision, states map[types.UID]decide.AgentState) []verify.Pod {
	all := make([]verify.Pod, 0, len(o.pods))
	for _, p := range o.pods {
		one := verify.Pod{
			Name: p.Name, Component: p.component, Addrs: facts.Addresses(p.Pod),
			Zone: cmp.Or(decision.Zones[p.Name], p.nodeLabels[corev1.LabelTopologyZone]),
		}
		if own, ok := decision.Faults[p.Name]; ok {
			for _, f := range own {
				one.Faults = append(one.Faults, f.Fault)
			}
			one.Agent = agentOf(states[p.UID], one.Faults)
		}
		all = append(all, one)
	}
	return all
}

// agentOf returns what is known of an agent that is to hold faults and no others.
func agentOf(state decide.AgentState, faults []compile.Fault) verify.Agent {
	isHeld := func(f compile.Fault) bool {
		return slices.ContainsFunc(state.Holds, func(other compile.Fault) bool { return reflect.DeepEqual(f.Fault, other.Fault) })
	}
	isMissing := func(f compile.Fault) bool { return !isHeld(f) }
	switch {
	case state.Down || state.Silent:
		return verify.Lost
	case state.Known && len(state.Holds) == len(faults) && !slices.ContainsFunc(faults, isMissing):
		return verify.Holds
	case state.Failed != "":
		return verify.Lost
	default:
		return verify.AskedNow
	}
}

// assignments returns the tasks of each agent.
func (o *observation) assignments(tasks []verify.Task) []surveyor.Assignment {
	var all []surveyor.Assignment
	for _, p := range o.pods {
		var own []verify.Task
		for _, t := range tasks {
			if t.From == p.Name {
				own = append(own, t)
			}
		}
		if len(own) > 0 {
			agent, _ := injection.AgentOf(p.Pod)
			target := surveyor.Target{Pod: client.ObjectKeyFromObject(p.Pod), UID: p.UID, Addr: facts.Addresses(p.Pod)[0], IsOpen: agent.Attached}
			all = append(all, surveyor.Assignment{Target: target, Tasks: own})
		}
	}
	return all
}

// tellVerified says in a status what was measured. Nothing is said of what is not in force,
// or not yet everywhere as it is now. What was said before stays while there is a pair
// without a verdict, unless a pair was wrong then and none is now: it is gone. That is known
// only once all was measured since this replica leads: until then nothing is wrong because
// nothing was measured, and the status says what the leader before has found.
func tellVerified(life *v1alpha1.Life, found verify.Status, isSurveyed bool, now time.Time) {
	before := meta.FindStatusCondition(life.Conditions, v1alpha1.Verified)
	switch {
	case life.Phase != v1alpha1.Running || life.Reason == decide.ReasonApplying:
		life.Verified, life.Pairs = "", nil
		meta.RemoveStatusCondition(&life.Conditions, v1alpha1.Verified)
		return
	case found.IsOpen && before != nil && (before.Status != metav1.ConditionFalse || !isSurveyed):
		return
	}
	life.Verified, life.Pairs = found.Verified, found.Pairs
	if found.IsOpen {
		life.Verified, life.Pairs = "", nil
	}
	found.Condition.ObservedGeneration = life.ObservedGeneration
	found.Condition.LastTransitionTime = metav1.Time{Time: now.Add(time.Second - 1).Truncate(time.Second)}
	meta.SetStatusCondition(&life.Conditions, found.Condition)
}
