package decide

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/selector"
	"github.com/tidelay/tidelay/pkg/networkfault/zone"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Bounds of what a status lists: pods of a zone, and pods in none.
const (
	maxZonePods = 256
	maxUnzoned  = 64
)

// topologyAsked is what a NetworkTopology asks for.
type topologyAsked struct {
	spec  *v1alpha1.NetworkTopologySpec
	rules zone.Rules
	// hasStarted is whether it has been in force, runs is whether it is as it is now, and before
	// are the zones that it had last.
	hasStarted, runs bool
	before           []v1alpha1.ZonePods
	placed           *placing // nil before place
	zones            zone.Zones
	links            map[compile.Way]fault.Impairment
	// status has what it is to say of zones. Its life is the object's.
	status v1alpha1.NetworkTopologyStatus
	// isListed is whether the zones of the status are those of the spec as it is now.
	isListed bool
}

func (t *topologyAsked) parse() *refusal {
	var err error
	if t.rules, err = zone.Parse(t.spec); err == nil {
		return nil
	}
	if _, ok := errors.AsType[*selector.Error](err); ok {
		return &refusal{ReasonInvalidSelector, err.Error()}
	}
	return &refusal{ReasonInvalid, err.Error()}
}

// what goes by the zones of the status until resolve knows better.
func (t *topologyAsked) what() string {
	names := t.zones.Names
	if len(names) == 0 {
		for _, z := range t.status.Zones {
			names = append(names, z.Name)
		}
	}
	return t.rules.What(names)
}

// waits reports whether the topology starts when the TidbCluster is ready, as it does unless
// the spec says otherwise.
func (t *topologyAsked) waits() bool { return t.spec.StartAfter != v1alpha1.StartAfterCreated }

// unready says what is not healthy of PD and the stores. What zones there are forbid is not
// waited for: resolve refuses it at once.
func (t *topologyAsked) unready(d *decision) string {
	if _, err := t.place(d); err != nil || !t.waits() {
		return ""
	}
	missing := d.facts().Unready()
	if len(missing) == 0 {
		return ""
	}
	return withEnd(strings.Join(missing, "; "), "It starts when PD and the stores are healthy.")
}

// lacks reports whether the topology has to wait for zones, or can't be with those that there
// are, and so does not keep the place of another one.
func (t *topologyAsked) lacks(d *decision) (bool, error) {
	missing, err := t.place(d)
	return err != nil || missing != "", err
}

// resolve puts the pods into zones. Zones that have no pods yet are waited for.
func (t *topologyAsked) resolve(d *decision, o *object, _ selector.Cluster) bool {
	missing, err := t.place(d)
	if t.zones.Of != nil {
		t.list()
	}
	switch {
	case err != nil:
		d.setCondition(o, v1alpha1.Resolved, false, ReasonInvalid, err.Error())
		d.refuse(o, ReasonInvalid, err.Error())
		return false
	case missing != "":
		d.setCondition(o, v1alpha1.Resolved, false, ReasonNoZones, missing)
		d.stop(o, v1alpha1.Pending, ReasonNoZones, missing)
		return false
	}
	o.life.What = t.what()
	few := t.rules.Few(t.zones)
	if few != "" {
		d.setCondition(o, v1alpha1.Resolved, false, ReasonNoZones, few)
	} else {
		where := fmt.Sprintf("%s in %s", tidbcluster.Plural(len(t.zones.Of), "pod"), tidbcluster.Plural(len(t.zones.Populated()), "zone"))
		d.setCondition(o, v1alpha1.Resolved, true, "Resolved", strings.Join(slices.Concat([]string{where}, t.zones.Strange), "; "))
	}
	o.notes = slices.DeleteFunc(slices.Concat([]string{few}, t.zones.Strange, t.zones.Vacant, t.rules.Unused(t.zones)), func(note string) bool { return note == "" })
	return true
}

// placing is what place has come to.
type placing struct {
	missing string
	err     error
}

// place puts the pods into zones and finds what is between those, once. missing says which pods
// the topology has to wait for; one that has started goes on without them, if its zones are as
// many as its profile's.
func (t *topologyAsked) place(d *decision) (missing string, err error) {
	if t.placed == nil {
		missing, err := t.placeNow(d)
		t.placed = &placing{missing, err}
	}
	return t.placed.missing, t.placed.err
}

// placeNow is place without its memory.
func (t *topologyAsked) placeNow(d *decision) (missing string, err error) {
	pods := make([]zone.Pod, 0, len(d.Pods))
	for _, p := range d.Pods {
		pods = append(pods, zone.Pod{Name: p.Name, Component: p.Component, NodeLabels: p.NodeLabels, Unscheduled: p.Unscheduled})
	}
	if t.zones, err = t.rules.Assign(pods, zone.Before{Zones: t.before, Runs: t.runs, IsShort: d.facts().IsShort()}); err != nil {
		return "", err
	}
	if missing = t.rules.Short(t.zones); missing != "" {
		return missing, nil
	}
	if t.links, err = t.rules.Links(t.zones.Names); err != nil || t.hasStarted {
		return "", err
	}
	if few := t.rules.Few(t.zones); few != "" {
		return strings.Join(slices.Concat([]string{few}, t.zones.Vacant), "; "), nil
	}
	if len(t.pods()) == 0 && t.rules.Adds() {
		idle := fmt.Sprintf("nothing is between the zones that have pods now (%s)", strings.Join(t.zones.Populated(), ", "))
		return strings.Join(slices.Concat([]string{idle}, t.zones.Vacant, t.rules.Unused(t.zones)), "; "), nil
	}
	return "", nil
}

// list lists the zones and their pods in the status.
func (t *topologyAsked) list() {
	t.isListed = true
	zoned, unzoned := len(t.zones.Of), len(t.zones.Unzoned)
	t.status.Zoned = fmt.Sprintf("%d/%d", zoned, zoned+unzoned)
	t.status.Unzoned = t.zones.Unzoned[:min(unzoned, maxUnzoned)]
	t.status.Zones = nil
	for _, name := range t.zones.Names {
		pods := t.zones.Pods(name)
		t.status.Zones = append(t.status.Zones, v1alpha1.ZonePods{Name: name, Pods: pods[:min(len(pods), maxZonePods)]})
	}
}

func (t *topologyAsked) pods() []string {
	return t.inZones(func(zone, other string) bool { return t.isLinked(zone, other) || t.isLinked(other, zone) })
}

func (t *topologyAsked) senders() []string { return t.inZones(t.isLinked) }

// inZones returns the pods of the zones for which a condition holds together with the zone
// of another pod.
func (t *topologyAsked) inZones(condition func(zone, other string) bool) []string {
	var all []string
	populated := t.zones.Populated()
	for _, name := range populated {
		pods := t.zones.Pods(name)
		if slices.ContainsFunc(populated, func(other string) bool { return (other != name || len(pods) > 1) && condition(name, other) }) {
			all = append(all, pods...)
		}
	}
	slices.Sort(all)
	return all
}

// isLinked reports whether something is between two zones.
func (t *topologyAsked) isLinked(from, to string) bool {
	_, is := t.links[compile.Way{From: from, To: to}]
	return is
}

func (t *topologyAsked) compiled() compile.Object {
	return compile.Object{Topology: &compile.Topology{Zones: t.zones.Of, Links: t.links}}
}

// unheard is nothing: the pods of a TidbCluster have addresses of the same families.
func (t *topologyAsked) unheard(*decision) *refusal { return nil }

func (t *topologyAsked) nothing() string {
	return fmt.Sprintf("nothing is between the zones that have pods (%s): no link is about two of them, or it adds too little", strings.Join(t.zones.Populated(), ", "))
}

func (t *topologyAsked) narrows() bool { return false }

func (t *topologyAsked) forget() { t.status.Zoned, t.status.Zones, t.status.Unzoned = "", nil, nil }

func (t *topologyAsked) outdate() bool {
	if t.isListed {
		return false
	}
	t.forget()
	return true
}

func (t *topologyAsked) keep(name string, life v1alpha1.Life, result *Decision) {
	status := t.status
	status.Life = life
	result.Topologies[name] = status
}
