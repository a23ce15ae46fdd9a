package zone

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

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
	// Strange says which pods are in no zone because a profile's zones stay those that they
	// were dealt to; "" if there are none.
	Strange string

	pods map[string][]string // by zone, sorted
}

// Pods returns the pods of a zone, by name.
func (z Zones) Pods(zone string) []string { return z.pods[zone] }

// Populated returns the zones that have pods, by name.
func (z Zones) Populated() []string { return slices.Sorted(maps.Keys(z.pods)) }

// Assign puts pods into zones. before are the zones that the topology had last, if it has
// started. By label, a profile's zones stay those that they were dealt to, whatever pods move:
// a zone without pods is one still, and pods of another zone are in none. They are dealt anew
// when all pods are in other zones, as after a change of the label, or to it from a list.
//
// The error says that a pod is in two zones, or that there are too many zones.
func (r *Rules) Assign(pods []Pod, before []string) (Zones, error) {
	z := Zones{Names: r.names(), Of: map[string]string{}}
	switch {
	case r.spread > 0:
		r.deal(&z, pods)
	case len(r.list) > 0:
		if err := r.assignListed(&z, pods); err != nil {
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
	if len(z.Names) > Max {
		return Zones{}, fmt.Errorf("%s makes %d zones, and %d are possible", r.source(), len(z.Names), Max)
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
func (r *Rules) assignLabelled(z *Zones, pods []Pod, before []string) {
	for _, p := range pods {
		if value := p.NodeLabels[r.key]; value != "" && p.Component != tidbcluster.Discovery {
			z.Of[p.Name] = value
		}
	}
	z.Names = slices.Compact(slices.Sorted(maps.Values(z.Of)))
	if r.profile == nil || len(before) != len(r.profile.Zones) {
		return
	}
	isBefore := func(zone string) bool { return slices.Contains(before, zone) }
	if len(z.Names) == 0 || slices.ContainsFunc(z.Names, isBefore) {
		z.Names = slices.Sorted(slices.Values(before))
		z.estrange()
	}
}

// estrange takes the pods of other zones out, and says so.
func (z *Zones) estrange() {
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
	z.Strange = fmt.Sprintf("in no zone: %s; the profile's zones stay %s until the topology is created again", strings.Join(pods, ", "), strings.Join(z.Names, ", "))
}

// assignListed puts pods into the zones that name them.
func (r *Rules) assignListed(z *Zones, pods []Pod) error {
	var cluster selector.Cluster
	for _, p := range pods {
		cluster.Pods = append(cluster.Pods, selector.Pod{Name: p.Name, Component: p.Component})
	}
	by := map[string]selector.Selector{} // by pod
	for _, one := range r.list {
		for _, s := range one.members {
			selection, err := cluster.Select([]selector.Selector{s}, 0, selector.Selection{})
			if errors.Is(err, selector.ErrNobody) {
				z.Vacant = append(z.Vacant, fmt.Sprintf("%s of zone %s selects no pod now", s, one.name))
			}
			for _, p := range selection.Pods {
				if other := z.Of[p.Pod.Name]; other != "" && other != one.name {
					return fmt.Errorf("spec.zones: pod %s is in two zones, in %s by %s and in %s by %s; want each pod in one at most", p.Pod.Name, other, by[p.Pod.Name], one.name, s)
				}
				z.Of[p.Pod.Name], by[p.Pod.Name] = one.name, s
			}
		}
	}
	z.Vacant = bounded(z.Vacant, "nor any pod by ", "more selector")
	return nil
}
