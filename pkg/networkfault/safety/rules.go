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
	momentary := o.Starting && f.mayKeep(with.severed)
	switch {
	case len(pairs) == 0:
		return nil
	case unknown != "":
		return &finding{podsOf(pairs), fmt.Sprintf(
			"This fault cuts off %s, and nobody can say whether a quorum stays: %s.%s Set allow: [QuorumLoss] to do it all the same.",
			someOf(podsOf(pairs)), unknown, o.aboutPorts()), momentary}
	case !slices.ContainsFunc(pairs, func(p compile.Pair) bool { return f.vital[p.A] && f.vital[p.B] }):
		return nil
	case with.verdict == lostByPD:
		pods := f.culprits(with)
		return &finding{pods, fmt.Sprintf(
			"PD would lose its majority: of %s at most %d would be healthy and reach each other, and %d are needed (cut off or not healthy: %s).%s Set allow: [QuorumLoss] to do it all the same.",
			plural(len(f.members), "member"), with.graph.mostTogether(), len(f.members)/2+1, someOf(pods), o.aboutPorts()), momentary}
	default:
		pods := f.culprits(with)
		return &finding{pods, fmt.Sprintf(
			"Regions of TiKV could lose their majority: with %s of each (max-replicas), %s of %s can be lost, and more would be (cut off or not healthy: %s).%s Set allow: [QuorumLoss] to do it all the same.",
			plural(f.replicas, "replica"), countOf(with.graph.losable), f.describeDomains(), someOf(pods), o.aboutPorts()), momentary}
	}
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
		return plural(len(domains), "zone") + " of TiKV"
	}
	return plural(len(domains), "pod") + " of TiKV"
}

// culprits returns the pods of PD, and of TiKV unless it is PD that loses its majority, to
// name for a lost quorum: those that are not healthy, and as few others as are easily
// found without which no pair is severed.
func (f Facts) culprits(s state) []string {
	isPD := func(pod string) bool { return f.is(pod, tidbcluster.PD) }
	onlyPD := s.verdict == lostByPD
	pods := slices.DeleteFunc(slices.Clone(s.graph.down), func(pod string) bool { return onlyPD && !isPD(pod) })
	partners := make(map[string]map[string]bool)
	for pair := range s.severed {
		counts := f.vital[pair.A] && f.vital[pair.B] && (isPD(pair.A) && isPD(pair.B)) == onlyPD
		if counts && !slices.Contains(pods, pair.A) && !slices.Contains(pods, pair.B) {
			for pod, partner := range map[string]string{pair.A: pair.B, pair.B: pair.A} {
				if partners[pod] == nil {
					partners[pod] = make(map[string]bool)
				}
				partners[pod][partner] = true
			}
		}
	}
	for len(partners) > 0 {
		// The one with the most partners, rather of TiKV than of PD, the first by name.
		worst := slices.MinFunc(slices.Sorted(maps.Keys(partners)), func(a, b string) int {
			return cmp.Or(-cmp.Compare(len(partners[a]), len(partners[b])), cmp.Compare(f.pods[b].Component, f.pods[a].Component))
		})
		if len(partners[worst]) == 0 {
			break
		}
		pods = append(pods, worst)
		for partner := range partners[worst] {
			delete(partners[partner], worst)
		}
		delete(partners, worst)
	}
	return pods
}

// cutOff returns the pods that TiDB Operator may take for failed because more pairs are
// severed than before, by component.
func (f Facts) cutOff(before, with severed) map[tidbcluster.Component][]string {
	lost := make(map[tidbcluster.Component][]string)
	for _, pair := range added(before, with) {
		a, b := f.pods[pair.A], f.pods[pair.B]
		if b.Component == tidbcluster.PD {
			lost[a.Component] = append(lost[a.Component], a.Name)
		}
		if a.Component == tidbcluster.PD {
			lost[b.Component] = append(lost[b.Component], b.Name)
		}
	}
	return lost
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
		lost := j.facts.cutOff(before.lasting[patience], with.lasting[patience])[c.name]
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
	found.message = fmt.Sprintf("This fault cuts off from PD, %s: %s.%s Set %s in the TidbCluster, a duration of at most %s, or allow: [Failover] to do it all the same.",
		length, strings.Join(reasons, "; "), o.aboutPorts(), strings.Join(fields, " and "), short(shortest))
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
		short(with.effects[worst].RTT), worst.A, worst.B, plural(len(pairs), "pair"), short(longDelay)), false}
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
