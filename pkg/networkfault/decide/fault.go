package decide

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/selector"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// MaxSelected is how many pods a status lists.
const MaxSelected = 1024

// unready is empty: a fault that starts at a bad time is refused.
func (f *faultAsked) unready(*decision) string { return "" }

func (f *faultAsked) waits() bool { return false }

func (f *faultAsked) lacks(*decision) (bool, error) { return false, nil }

// resolve finds the pods that the selectors select.
func (f *faultAsked) resolve(d *decision, o *object, cluster selector.Cluster) bool {
	from, err := f.choose(f.fromSelectors, cluster, selector.Selection{})
	var to selector.Selection
	if err == nil {
		to, err = f.choose(f.toSelectors, cluster, from)
	}
	if err == nil && !f.isStarted && !hasPair(from, to) {
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
	f.from, f.to = names(from), names(to)
	f.cidrs = to.CIDRs
	f.selected = nil
	// What is pinned is first: the status is where it is remembered.
	rank := map[bool]int{true: 0, false: 1}
	both := slices.Concat(from.Pods, to.Pods)
	slices.SortStableFunc(both, func(a, b selector.Picked) int { return rank[a.Selector.IsPinned()] - rank[b.Selector.IsPinned()] })
	for _, p := range both {
		one := v1alpha1.SelectedPod{Selector: p.Selector.String(), Pod: p.Pod.Name, Zone: p.Pod.Zone}
		if len(f.selected) < MaxSelected && !slices.Contains(f.selected, one) {
			f.selected = append(f.selected, one)
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
func (f *faultAsked) choose(selectors []selector.Selector, cluster selector.Cluster, from selector.Selection) (selector.Selection, error) {
	if !f.isStarted {
		return cluster.Select(selectors, f.spec.Seed, from)
	}
	var all selector.Selection
	for _, s := range selectors {
		some := f.pinned(s, cluster)
		if !s.IsPinned() {
			var err error
			if some, err = cluster.Select([]selector.Selector{s}, f.spec.Seed, from); err != nil && !errors.Is(err, selector.ErrNobody) {
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
func (f *faultAsked) pinned(s selector.Selector, cluster selector.Cluster) selector.Selection {
	var all selector.Selection
	for _, one := range f.before {
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

// pods returns the pods of both sides.
func (f *faultAsked) pods() []string {
	all := slices.Concat(f.from, f.to)
	slices.Sort(all)
	return slices.Compact(all)
}

func (f *faultAsked) senders() []string {
	if f.spec.OneWay && !f.spec.Partition {
		return f.from
	}
	return f.pods()
}

func (f *faultAsked) compiled() compile.Object {
	return compile.Object{
		From: f.from, To: f.to, CIDRs: f.cidrs,
		OneWay: f.spec.OneWay, RoundTrip: f.spec.RTT != "", Impairment: f.impairment, Ports: f.ports, Protocol: f.spec.Protocol,
	}
}

func (f *faultAsked) nothing() string {
	return "it is so small that it changes nothing at any selected pod"
}

func (f *faultAsked) narrows() bool { return len(f.ports) > 0 }

func (f *faultAsked) forget() { f.selected = nil }

// outdate drops nothing: what is pinned stays so when the spec is put right.
func (f *faultAsked) outdate() bool { return false }

func (f *faultAsked) keep(name string, life v1alpha1.Life, result *Decision) {
	result.Statuses[name] = v1alpha1.NetworkFaultStatus{Life: life, Selected: f.selected}
}
