package decide

import (
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

// resolve finds the pods of each object.
func (d *decision) resolve(objects []*object) []*object {
	cluster := d.Selectable()
	return slices.DeleteFunc(objects, func(o *object) bool {
		return !o.resolve(d, o, cluster) || !d.canHold(o)
	})
}

// Selectable returns what selectors need to know of the cluster.
func (in Input) Selectable() selector.Cluster {
	var c selector.Cluster
	if in.Cluster != nil {
		c.Roles = selector.RolesOf(&in.Cluster.Status)
		for component, is := range map[tidbcluster.Component]bool{
			tidbcluster.PD: in.Cluster.Spec.PD != nil, tidbcluster.TiKV: in.Cluster.Spec.TiKV != nil,
			tidbcluster.TiFlash: in.Cluster.Spec.TiFlash != nil, tidbcluster.TiCDC: in.Cluster.Spec.TiCDC != nil,
		} {
			if !is { // what is not asked for is not asked either
				c.Roles.Unsynced[component] = false
			}
		}
	}
	for _, p := range in.Pods {
		c.Pods = append(c.Pods, selector.Pod{Name: p.Name, Component: p.Component, Zone: p.Zone})
	}
	return c
}

// canHold refuses an object for selected pods that can't have it, unless it allows that. A
// topology that runs leaves them out too, also when it has just been changed: one pod that
// came without an agent must not end it for all others. A pod with the node's address takes
// no part even then. A fault is for the pods that it names, all or none of them; but one that
// runs goes on where an attached agent has ended, until somebody attaches another.
func (d *decision) canHold(o *object) bool {
	var hosts, bare, left []string
	for _, name := range o.pods() {
		switch p := d.find(name); {
		case p == nil: // a pod that was pinned, and is being replaced
		case p.HostNetwork:
			hosts = append(hosts, name)
		case p.AgentEnded:
			left = []string{leftByAgent}
			if !d.isAwaited(o, p) {
				bare = append(bare, name+" (its attached agent has ended)")
			}
		case !p.Agent:
			bare = append(bare, name)
		}
	}
	o.bare, o.notes = slices.Concat(hosts, bare), slices.Concat(o.notes, left)
	switch {
	case o.mayLeaveOut():
		return true
	case len(hosts) > 0:
		d.refuse(o, ReasonHostNetwork, fmt.Sprintf("%s: on the network of the node, whose address is not the pod's alone; set allow: [%s] to leave such pods out", list(hosts), v1alpha1.Partial))
	case len(bare) > 0:
		message := fmt.Sprintf("%s: without an agent; have one injected (annotations tidelay.io/inject and tidelay.io/components of the TidbCluster, and a restart), or attached (kubectl tidelay attach), or set allow: [%s] for the %s without them", list(bare), v1alpha1.Partial, o.noun())
		d.refuse(o, ReasonNoAgent, strings.Join(slices.Concat([]string{message}, left), "; "))
	default:
		return true
	}
	return false
}

// mayLeaveOut reports whether an object goes without the pods that can't have it.
func (o *object) mayLeaveOut() bool {
	return slices.Contains(o.allow, v1alpha1.Partial) || o.isTopology() && o.isRunning()
}

// isAwaited reports whether an object that runs, and that leaves no pod out, waits for another
// agent in a pod, in place of an attached one that has ended.
func (d *decision) isAwaited(o *object, p *Pod) bool {
	return p.AgentEnded && o.runs() && !o.mayLeaveOut()
}

// leftByAgent is about pods whose attached agents have ended.
const leftByAgent = "what such an agent held by netem may last until another one is attached (kubectl tidelay attach), or the pod is deleted"

// list names pods, not too many.
func list(pods []string) string {
	const shown = 8
	text := strings.Join(pods[:min(len(pods), shown)], ", ")
	if more := len(pods) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
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

// apart takes the addresses from pods of which another one has the same, and returns the pods.
// So it is for a moment after a node restarts: one pod has the address already that the API still
// says of another. Nothing tells whose packets are meant then, and an agent would take neither.
func apart(pods []Pod) []Pod {
	owners, shared := map[netip.Addr]string{}, map[netip.Addr]bool{}
	for _, p := range pods {
		if p.HostNetwork {
			continue
		}
		for _, addr := range usable(p.Addrs) {
			if owner, is := owners[addr]; is && owner != p.Name {
				shared[addr] = true
			}
			owners[addr] = p.Name
		}
	}
	for i, p := range pods {
		if slices.ContainsFunc(p.Addrs, func(addr netip.Addr) bool { return shared[addr] }) {
			pods[i].Addrs = nil
		}
	}
	return pods
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
	i := slices.IndexFunc(o.life.Conditions, func(c metav1.Condition) bool { return c.Type == kind })
	if i < 0 {
		o.life.Conditions = append(o.life.Conditions, one)
		return
	}
	if o.life.Conditions[i].Status == one.Status {
		one.LastTransitionTime = o.life.Conditions[i].LastTransitionTime
	}
	o.life.Conditions[i] = one
}
