package safety

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// finding is why an object breaks a rule.
type finding struct {
	pods    []string // in any order
	message string
	// momentary is that of the Refusal.
	momentary bool
}

// added returns the pairs that are severed with an object and were not before it, in any
// order.
func added(before, with severed) []compile.Pair {
	var pairs []compile.Pair
	for pair := range with {
		if !before[pair] {
			pairs = append(pairs, pair)
		}
	}
	return pairs
}

func (j *judge) quorumLoss(o Object, before, with state) *finding {
	f := j.facts
	unknown := f.unknown
	if unknown == "" && o.Starting {
		unknown = f.unsyncedQuorum()
	}
	if unknown == "" && with.verdict == kept {
		return nil
	}
	pairs := added(before.severed, with.severed)
	if len(pairs) == 0 {
		return nil
	}
	momentary := o.Starting && f.mayKeep(with.severed)
	switch {
	case unknown != "":
		return &finding{podsOf(pairs), fmt.Sprintf(
			"This %s cuts off %s, and nobody can say whether a quorum stays: %s.%s Set allow: [QuorumLoss] to do it all the same.",
			compile.Noun(o.Name), someOf(podsOf(pairs)), unknown, o.aboutPorts()), momentary}
	case !slices.ContainsFunc(pairs, func(p compile.Pair) bool { return f.vital[p.A] && f.vital[p.B] }):
		return nil
	case with.verdict == lostByPD:
		cut, down := f.culprits(with)
		return &finding{slices.Concat(cut, down), fmt.Sprintf(
			"PD would lose its majority: of %s at most %d would be healthy and reach each other, and %d are needed%s.%s Set allow: [QuorumLoss] to do it all the same.",
			tidbcluster.Plural(len(f.members), "member"), with.graph.mostTogether(), len(f.members)/2+1, causes("cut off", cut, down), o.aboutPorts()), momentary}
	default:
		cut, down := f.culprits(with)
		return &finding{slices.Concat(cut, down), fmt.Sprintf(
			"Regions of TiKV could lose their majority: with %s of each (max-replicas), %s of %s can be lost, and more would be%s.%s Set allow: [QuorumLoss] to do it all the same.",
			tidbcluster.Plural(f.replicas, "replica"), countOf(with.graph.losable), f.describeDomains(), causes("cut off from each other or from PD", cut, down), o.aboutPorts()), momentary}
	}
}

// causes names the pods that cost a quorum, in brackets: those that are cut off, in some
// words, and those that are not healthy. It is empty if there are none.
func causes(cutOff string, cut, down []string) string {
	var parts []string
	if len(cut) > 0 {
		parts = append(parts, cutOff+": "+someOf(cut))
	}
	if len(down) > 0 {
		parts = append(parts, "not healthy: "+someOf(down))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, "; ") + ")"
}

// aboutPorts says, of an object that is for some ports, that it counts as one for all; a
// sentence after others.
func (o Object) aboutPorts() string {
	if !o.Ports {
		return ""
	}
	return " Its ports are not looked at: each may be one that the cluster needs."
}

// describeDomains says what the failure domains of TiKV are, as in "3 pods of TiKV".
func (f Facts) describeDomains() string {
	domains := f.domains()
	if slices.ContainsFunc(domains, func(d domain) bool { return strings.HasPrefix(d.name, "zone ") }) {
		return tidbcluster.Plural(len(domains), "zone") + " of TiKV"
	}
	return tidbcluster.Plural(len(domains), "pod") + " of TiKV"
}

// culprits returns the pods to name for a lost quorum: of PD, or of TiKV if it is TiKV
// that loses its majority. Those that are not healthy are down. cut are as few others as
// are easily found without which nobody is cut off: a pod of TiKV from another one, or
// from a member of PD that counts.
func (f Facts) culprits(s state) (cut, down []string) {
	ofPD, ofTiKV, ofBoth := f.quorumPairs(s.severed)
	for _, pod := range s.graph.down {
		if f.isMember(pod) == (s.verdict == lostByPD) {
			down = append(down, pod)
		}
	}
	if s.verdict == lostByPD {
		return covering(ofPD, down), down
	}
	counts := f.namesOf(s.graph.majorities())
	for _, pair := range ofBoth {
		member, store := pair.A, pair.B
		if !f.isMember(member) {
			member, store = store, member
		}
		if counts[member] && !slices.Contains(down, store) {
			cut = append(cut, store)
		}
	}
	cut = sorted(cut)
	return append(cut, covering(ofTiKV, slices.Concat(cut, down))...), down
}

// quorumPairs returns the pairs of two members of PD, of two pods of TiKV, and of one of
// each, in any order.
func (f Facts) quorumPairs(pairs severed) (ofPD, ofTiKV, ofBoth []compile.Pair) {
	for pair := range pairs {
		switch a, b := f.isMember(pair.A), f.isMember(pair.B); {
		case !f.vital[pair.A] || !f.vital[pair.B]:
		case a && b:
			ofPD = append(ofPD, pair)
		case a || b:
			ofBoth = append(ofBoth, pair)
		default:
			ofTiKV = append(ofTiKV, pair)
		}
	}
	return ofPD, ofTiKV, ofBoth
}

// covering returns pods of which, with those that are known, every pair has one: again and
// again the pod of the most pairs, of several the first by name.
func covering(pairs []compile.Pair, known []string) []string {
	rest := slices.DeleteFunc(slices.Clone(pairs), func(p compile.Pair) bool { return slices.Contains(known, p.A) || slices.Contains(known, p.B) })
	var pods []string
	for len(rest) > 0 {
		count := make(map[string]int)
		for _, p := range rest {
			count[p.A]++
			count[p.B]++
		}
		worst := slices.MinFunc(slices.Sorted(maps.Keys(count)), func(a, b string) int { return -cmp.Compare(count[a], count[b]) })
		pods = append(pods, worst)
		rest = slices.DeleteFunc(rest, func(p compile.Pair) bool { return p.A == worst || p.B == worst })
	}
	return pods
}

func (j *judge) failover(o Object, before, with state) *finding {
	var found finding
	var reasons, fields []string
	shortest := fault.MaxDuration
	for _, c := range j.facts.components {
		patience, replaces := c.patience()
		if !replaces || !o.outlasts(patience) {
			continue
		}
		var lost []string
		for pod := range with.cutOff[patience] {
			if j.facts.is(pod, c.name) && !before.cutOff[patience][pod] {
				lost = append(lost, pod)
			}
		}
		if len(lost) == 0 {
			continue
		}
		what := "adds a pod for each"
		if c.name == tidbcluster.PD {
			what = "deletes such a member and its volume"
		}
		found.pods = append(found.pods, lost...)
		reasons = append(reasons, fmt.Sprintf("%s (TiDB Operator %s after %s)", someOf(lost), what, short(patience)))
		fields = append(fields, fmt.Sprintf("spec.%s.maxFailoverCount: 0", c.name))
		shortest = min(shortest, patience)
	}
	if len(reasons) == 0 {
		return nil
	}
	length := "until it is deleted"
	if o.Length > 0 {
		length = "for " + short(o.Length)
	}
	found.message = fmt.Sprintf("This %s may cut off from PD's leader, %s: %s.%s Set %s in the TidbCluster, a duration of at most %s, or allow: [Failover] to do it all the same.",
		compile.Noun(o.Name), length, strings.Join(reasons, "; "), o.aboutPorts(), strings.Join(fields, " and "), short(shortest))
	return &found
}

func (j *judge) longDelay(_ Object, before, with state) *finding {
	var pairs []compile.Pair
	for pair, e := range with.effects {
		if e.RTT > longDelay && e.RTT > before.effects[pair].RTT {
			pairs = append(pairs, pair)
		}
	}
	if len(pairs) == 0 {
		return nil
	}
	worst := slices.MaxFunc(sortedPairs(pairs), func(a, b compile.Pair) int { return cmp.Compare(with.effects[a].RTT, with.effects[b].RTT) })
	return &finding{podsOf(pairs), fmt.Sprintf(
		"Up to %s would be added to a round trip (between %s and %s; %s beyond %s). Set a shorter rtt or delay, or allow: [LongDelay] to do it all the same.",
		short(with.effects[worst].RTT), worst.A, worst.B, tidbcluster.Plural(len(pairs), "pair"), short(longDelay)), false}
}

func (j *judge) unhealthyStart(o Object, _, _ state) *finding {
	if !o.Starting {
		return nil
	}
	return start(j.facts.problems(j.victims()), "The TidbCluster is not healthy: %s. Wait until it is, or set allow: [UnhealthyStart] to start all the same.")
}

func (j *judge) upgrade(o Object, _, _ state) *finding {
	if !o.Starting {
		return nil
	}
	return start(j.facts.changes(), "TiDB Operator is changing the TidbCluster: %s. Wait until that is done, or set allow: [Upgrade] to start all the same.")
}

// start returns why an object can't start; nil if there are no problems.
func start(problems []problem, message string) *finding {
	if len(problems) == 0 {
		return nil
	}
	found := finding{momentary: true}
	var texts []string
	for _, p := range problems {
		found.pods = append(found.pods, p.pods...)
		texts = append(texts, p.text)
	}
	found.message = fmt.Sprintf(message, some(texts, "; "))
	return &found
}
