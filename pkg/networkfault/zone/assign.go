package zone

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/selector"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Pod is what zones need to know of a pod.
type Pod struct {
	Name      string
	Component tidbcluster.Component
	// NodeLabels are those of its node; nil if it has none, or if they are not known.
	NodeLabels map[string]string
	// Unscheduled is whether it is on no node yet.
	Unscheduled bool
}

// Before is what zones a topology that has started had last; the zero value is for one that has
// not.
type Before struct {
	Zones []v1alpha1.ZonePods
	// Runs is whether it is in force by the spec as it is. Then no pods end it.
	Runs bool
	// IsShort is whether the TidbCluster is to have more pods than there are, as while one is
	// replaced.
	IsShort bool
}

// Zones are the zones of a TidbCluster.
type Zones struct {
	// Names are the zones in order of name, also those without pods.
	Names []string
	// Of has the zone of each pod that is in one, by the pod's name.
	Of map[string]string
	// Unzoned are the other pods, by name. Discovery is not among them.
	Unzoned []string
	// Unscheduled is how many of those are on no node yet.
	Unscheduled int
	// Vacant says of selectors of a list that they select no pod now.
	Vacant []string
	// Strange says of pods that came to a topology that has started, and could not be put into
	// a zone, why not.
	Strange []string

	pods map[string][]string // by zone, sorted
}

// Pods returns the pods of a zone, by name.
func (z Zones) Pods(zone string) []string { return z.pods[zone] }

// Populated returns the zones that have pods, by name.
func (z Zones) Populated() []string { return slices.Sorted(maps.Keys(z.pods)) }

// Assign puts pods into zones. By label, a profile's zones stay those that they were dealt to,
// whatever pods move: a zone without pods is one still, and pods of another zone are in none.
// They are dealt anew when all pods are in other zones, as after a change of the label, or to it
// from a list; but where the topology runs, only if these are as many. Without a profile a zone
// without pods stays one as long as some pod may come to it: while the TidbCluster is short of
// pods, or a pod is on no node that is known.
//
// The error says that a pod is in two zones, or that there are too many zones. A topology that
// has started leaves out instead pods that were in no zone before and are in two now, and
// those of zones by label that there is no room for beside the zones before.
func (r *Rules) Assign(pods []Pod, before Before) (Zones, error) {
	z := Zones{Names: r.names(), Of: map[string]string{}}
	switch {
	case r.spread > 0:
		r.deal(&z, pods)
	case len(r.list) > 0:
		if err := r.assignListed(&z, pods, before.Zones); err != nil {
			return Zones{}, err
		}
	default:
		r.assignLabelled(&z, pods, before)
	}
	for _, p := range pods {
		if z.Of[p.Name] == "" && p.Component != tidbcluster.Discovery {
			z.Unzoned = append(z.Unzoned, p.Name)
			if p.Unscheduled {
				z.Unscheduled++
			}
		}
	}
	slices.Sort(z.Unzoned)
	if err := r.checkCount(z.Names); err != nil {
		return Zones{}, err
	}
	z.pods = map[string][]string{}
	for _, pod := range slices.Sorted(maps.Keys(z.Of)) {
		z.pods[z.Of[pod]] = append(z.pods[z.Of[pod]], pod)
	}
	return z, nil
}

// deal deals pods out by their numbers.
func (r *Rules) deal(z *Zones, pods []Pod) {
	for _, p := range pods {
		number, err := strconv.ParseUint(p.Name[strings.LastIndexByte(p.Name, '-')+1:], 10, 31)
		if err == nil && p.Component != tidbcluster.Discovery {
			z.Of[p.Name] = z.Names[number%uint64(r.spread)] //nolint:gosec // it is 2 to Max
		}
	}
}

// assignLabelled puts pods into the zones of their nodes.
func (r *Rules) assignLabelled(z *Zones, pods []Pod, before Before) {
	isShort := before.IsShort
	for _, p := range pods {
		isShort = isShort || p.NodeLabels == nil
		if value := p.NodeLabels[r.key]; value != "" && p.Component != tidbcluster.Discovery {
			z.Of[p.Name] = value
		}
	}
	z.Names = slices.Compact(slices.Sorted(maps.Values(z.Of)))
	dealt := namesOf(before.Zones)
	stayed := slices.DeleteFunc(slices.Clone(z.Names), func(zone string) bool { return !slices.Contains(dealt, zone) })
	isElsewhere := len(stayed) == 0 && len(z.Names) > 0
	switch {
	case isElsewhere && (!before.Runs || r.fit(z.Names) == nil):
	case r.profile != nil:
		if len(dealt) == len(r.profile.Zones) {
			z.Names = dealt
			z.estrange("the profile's zones stay " + strings.Join(dealt, ", ") + " until the topology is created again")
		}
	case isShort && !isElsewhere && r.fit(dealt) == nil:
		r.keep(z, dealt)
	default:
		r.keep(z, stayed)
	}
}

// keep has zones be what they were, and others beside them as far as these fit. Pods of those
// that do not are in none. It changes nothing if the former do not fit either.
func (r *Rules) keep(z *Zones, before []string) {
	all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(before, z.Names))))
	full := r.fit(all)
	switch {
	case full == nil:
		z.Names = all
	case r.fit(before) == nil:
		z.Names = r.fill(before, z.Names)
		z.estrange("there is no room for more zones: " + full.Error())
	}
}

// namesOf returns the names of zones, sorted.
func namesOf(zones []v1alpha1.ZonePods) []string {
	var all []string
	for _, z := range zones {
		all = append(all, z.Name)
	}
	slices.Sort(all)
	return all
}

// checkCount refuses more zones than there can be.
func (r *Rules) checkCount(names []string) error {
	if len(names) > Max {
		return fmt.Errorf("%s makes %d zones, and %d are possible", r.source(), len(names), Max)
	}
	return nil
}

// fit says why there can't be zones of some names together; nil if there can.
func (r *Rules) fit(names []string) error {
	if err := r.checkCount(names); err != nil {
		return err
	}
	_, err := r.Links(names)
	return err
}

// fill adds to some zones, which fit, those of others that fit beside them, the first by name
// first.
func (r *Rules) fill(some, others []string) []string {
	for _, name := range others {
		with := append(slices.Clone(some), name)
		slices.Sort(with)
		if !slices.Contains(some, name) && r.fit(with) == nil {
			some = with
		}
	}
	return some
}

// estrange takes the pods of zones without a name in Names out, and says so.
func (z *Zones) estrange(why string) {
	counts := map[string]int{}
	maps.DeleteFunc(z.Of, func(_, zone string) bool {
		isStrange := !slices.Contains(z.Names, zone)
		if isStrange {
			counts[zone]++
		}
		return isStrange
	})
	if len(counts) == 0 {
		return
	}
	var pods []string
	for _, zone := range slices.Sorted(maps.Keys(counts)) {
		pods = append(pods, fmt.Sprintf("%s of zone %s", tidbcluster.Plural(counts[zone], "pod"), zone))
	}
	pods = bounded(pods, "those of ", "more zone")
	z.Strange = append(z.Strange, fmt.Sprintf("in no zone: %s; %s", strings.Join(pods, ", "), why))
}

// assignListed puts pods into the zones that name them.
func (r *Rules) assignListed(z *Zones, pods []Pod, before []v1alpha1.ZonePods) error {
	var cluster selector.Cluster
	for _, p := range pods {
		cluster.Pods = append(cluster.Pods, selector.Pod{Name: p.Name, Component: p.Component})
	}
	wasPlaced := func(pod string) bool {
		return slices.ContainsFunc(before, func(z v1alpha1.ZonePods) bool { return slices.Contains(z.Pods, pod) })
	}
	by, twice := map[string]selector.Selector{}, map[string]string{} // by pod
	for _, one := range r.list {
		for _, s := range one.members {
			selection, err := cluster.Select([]selector.Selector{s}, 0, selector.Selection{})
			if errors.Is(err, selector.ErrNobody) {
				z.Vacant = append(z.Vacant, fmt.Sprintf("%s of zone %s selects no pod now", s, one.name))
			}
			for _, p := range selection.Pods {
				pod := p.Pod.Name
				if other := z.Of[pod]; other != "" && other != one.name {
					twice[pod] = fmt.Sprintf("pod %s is in two zones, in %s by %s and in %s by %s; want each pod in one at most", pod, other, by[pod], one.name, s)
					continue
				}
				z.Of[pod], by[pod] = one.name, s
			}
		}
	}
	z.Vacant = bounded(z.Vacant, "nor any pod by ", "more selector")
	for _, pod := range slices.Sorted(maps.Keys(twice)) {
		if len(before) == 0 || wasPlaced(pod) {
			return fmt.Errorf("spec.zones: %s", twice[pod])
		}
		delete(z.Of, pod)
		z.Strange = append(z.Strange, "in no zone: "+twice[pod])
	}
	z.Strange = bounded(z.Strange, "nor are ", "more pod")
	return nil
}
