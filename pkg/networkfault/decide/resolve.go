package decide

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/selector"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// MaxSelected is how many pods a status lists.
const MaxSelected = 1024

// resolve finds the pods of each object.
func (d *decision) resolve(objects []*object) []*object {
	cluster := d.selectable()
	return slices.DeleteFunc(objects, func(o *object) bool {
		return !d.resolveOne(o, cluster) || !d.canHold(o)
	})
}

// selectable returns what selectors need to know of the cluster.
func (d *decision) selectable() selector.Cluster {
	var c selector.Cluster
	if d.Cluster != nil {
		c.Roles = selector.RolesOf(&d.Cluster.Status)
		for component, is := range map[tidbcluster.Component]bool{
			tidbcluster.PD: d.Cluster.Spec.PD != nil, tidbcluster.TiKV: d.Cluster.Spec.TiKV != nil,
			tidbcluster.TiFlash: d.Cluster.Spec.TiFlash != nil, tidbcluster.TiCDC: d.Cluster.Spec.TiCDC != nil,
		} {
			if !is { // what is not asked for is not asked either
				c.Roles.Unsynced[component] = false
			}
		}
	}
	for _, p := range d.Pods {
		c.Pods = append(c.Pods, selector.Pod{Name: p.Name, Component: p.Component, Zone: p.Zone})
	}
	return c
}

// resolveOne finds the pods of one object. It reports false if that must wait, or can't
// be done.
func (d *decision) resolveOne(o *object, cluster selector.Cluster) bool {
	from, err := o.choose(o.fromSelectors, cluster, selector.Selection{})
	var to selector.Selection
	if err == nil {
		to, err = o.choose(o.toSelectors, cluster, from)
	}
	if err == nil && o.Status.StartedAt == nil && !hasPair(from, to) {
		err = fmt.Errorf("%w: spec.from and spec.to are the same pod", selector.ErrNobody)
	}
	if err != nil {
		if errors.Is(err, selector.ErrUnknownRole) {
			d.setCondition(o, v1alpha1.Resolved, false, ReasonRoleUnknown, err.Error())
			d.stop(o, v1alpha1.Pending, ReasonRoleUnknown, err.Error())
		} else {
			d.setCondition(o, v1alpha1.Resolved, false, ReasonNobodySelected, err.Error())
			d.refuse(o, ReasonNobodySelected, err.Error())
		}
		return false
	}
	d.setCondition(o, v1alpha1.Resolved, true, "Resolved", sides(from, to))
	o.from, o.to = names(from), names(to)
	o.cidrs = to.CIDRs
	o.status.Selected = nil
	// What is pinned is first: the status is where it is remembered.
	rank := map[bool]int{true: 0, false: 1}
	both := slices.Concat(from.Pods, to.Pods)
	slices.SortStableFunc(both, func(a, b selector.Picked) int { return rank[a.Selector.IsPinned()] - rank[b.Selector.IsPinned()] })
	for _, p := range both {
		one := v1alpha1.SelectedPod{Selector: p.Selector.String(), Pod: p.Pod.Name, Zone: p.Pod.Zone}
		if len(o.status.Selected) < MaxSelected && !slices.Contains(o.status.Selected, one) {
			o.status.Selected = append(o.status.Selected, one)
		}
	}
	return true
}

// sides says how many are on each side.
func sides(from, to selector.Selection) string {
	text := fmt.Sprintf("%s on the side from, %s on the side to", tidbcluster.Plural(len(from.Pods), "pod"), tidbcluster.Plural(len(to.Pods), "pod"))
	if n := len(to.CIDRs); n > 0 {
		text += " and " + tidbcluster.Plural(n, "range")
	}
	return text
}

// choose returns what selectors select. What an object that has started pinned stays
// as it was, and what it did not pin may be nobody for a while.
func (o *object) choose(selectors []selector.Selector, cluster selector.Cluster, from selector.Selection) (selector.Selection, error) {
	if o.Status.StartedAt == nil {
		return cluster.Select(selectors, o.Spec.Seed, from)
	}
	var all selector.Selection
	for _, s := range selectors {
		some := o.pinned(s, cluster)
		if !s.IsPinned() {
			var err error
			if some, err = cluster.Select([]selector.Selector{s}, o.Spec.Seed, from); err != nil && !errors.Is(err, selector.ErrNobody) {
				return selector.Selection{}, err
			}
		}
		all.CIDRs = append(all.CIDRs, some.CIDRs...)
		for _, p := range some.Pods {
			if !all.Has(p.Pod.Name) {
				all.Pods = append(all.Pods, p)
			}
		}
	}
	slices.SortFunc(all.Pods, func(a, b selector.Picked) int { return strings.Compare(a.Pod.Name, b.Pod.Name) })
	return all, nil
}

// pinned returns the pods that a selector selected when the object started.
func (o *object) pinned(s selector.Selector, cluster selector.Cluster) selector.Selection {
	var all selector.Selection
	for _, one := range o.Status.Selected {
		if one.Selector != s.String() {
			continue
		}
		pod := selector.Pod{Name: one.Pod, Component: s.Component, Zone: one.Zone}
		if i := slices.IndexFunc(cluster.Pods, func(p selector.Pod) bool { return p.Name == one.Pod }); i >= 0 {
			pod = cluster.Pods[i]
		}
		all.Pods = append(all.Pods, selector.Picked{Selector: s, Pod: pod})
	}
	return all
}

// hasPair reports whether there are two pods, or a pod and a range, that packets can go
// between.
func hasPair(from, to selector.Selection) bool {
	return len(to.CIDRs) > 0 || len(from.Pods) > 1 || slices.ContainsFunc(to.Pods, func(p selector.Picked) bool { return !from.Has(p.Pod.Name) })
}

func names(s selector.Selection) []string {
	all := make([]string, 0, len(s.Pods))
	for _, p := range s.Pods {
		all = append(all, p.Pod.Name)
	}
	return all
}

// canHold refuses an object for selected pods that can't have it, unless it allows that.
// A pod with the node's address takes no part even then.
func (d *decision) canHold(o *object) bool {
	var hosts, bare []string
	for _, name := range o.both() {
		switch p := d.find(name); {
		case p == nil: // a pod that was pinned, and is being replaced
		case p.HostNetwork:
			hosts = append(hosts, name)
		case !p.Agent:
			bare = append(bare, name)
		}
	}
	o.bare = slices.Concat(hosts, bare)
	switch {
	case slices.Contains(o.Spec.Allow, v1alpha1.Partial):
		return true
	case len(hosts) > 0:
		d.refuse(o, ReasonHostNetwork, fmt.Sprintf("%s: on the network of the node, whose address is not the pod's alone; set allow: [%s] to leave such pods out", list(hosts), v1alpha1.Partial))
	case len(bare) > 0:
		d.refuse(o, ReasonNoAgent, fmt.Sprintf("%s: without an agent; have one injected (annotations tidelay.io/inject and tidelay.io/components of the TidbCluster, and a restart), or set allow: [%s] for the fault without them", list(bare), v1alpha1.Partial))
	default:
		return true
	}
	return false
}

// both returns the names of the pods of both sides, each once, sorted.
func (o *object) both() []string {
	all := slices.Concat(o.from, o.to)
	slices.Sort(all)
	return slices.Compact(all)
}

// list names pods, not too many.
func list(pods []string) string {
	const shown = 8
	text := strings.Join(pods[:min(len(pods), shown)], ", ")
	if more := len(pods) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// compiled returns an object as the compilation takes it, with its place in the order of
// precedence instead of its age.
func (o *object) compiled(place int) compile.Object {
	return compile.Object{
		Name: o.Name, Created: atPlace(place), From: o.from, To: o.to, CIDRs: o.cidrs,
		OneWay: o.Spec.OneWay, RoundTrip: o.Spec.RTT != "", Impairment: o.impairment, Ports: o.ports, Protocol: o.Spec.Protocol,
	}
}

// compiledPods returns the pods as the compilation takes them.
func (d *decision) compiledPods() []compile.Pod {
	var all []compile.Pod
	for _, p := range d.Pods {
		if !p.HostNetwork {
			all = append(all, compile.Pod{Name: p.Name, Addrs: usable(p.Addrs), Agent: p.Agent})
		}
	}
	return all
}

// usable returns the addresses that can be those of a pod.
func usable(addrs []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return !a.IsValid() || a.IsUnspecified() })
}

// setCondition sets a condition that is true or not.
func (d *decision) setCondition(o *object, kind string, is bool, reason, message string) {
	status := metav1.ConditionFalse
	if is {
		status = metav1.ConditionTrue
	}
	d.setStatus(o, kind, status, reason, message)
}

// setStatus sets a condition. Its time changes only with its status.
func (d *decision) setStatus(o *object, kind string, status metav1.ConditionStatus, reason, message string) {
	one := metav1.Condition{Type: kind, Status: status, Reason: reason, Message: tidbcluster.EventNote(message), LastTransitionTime: metav1.Time{Time: wholeSecond(d.Now)}}
	i := slices.IndexFunc(o.status.Conditions, func(c metav1.Condition) bool { return c.Type == kind })
	if i < 0 {
		o.status.Conditions = append(o.status.Conditions, one)
		return
	}
	if o.status.Conditions[i].Status == one.Status {
		one.LastTransitionTime = o.status.Conditions[i].LastTransitionTime
	}
	o.status.Conditions[i] = one
}
