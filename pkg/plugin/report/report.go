// Package report says in one screen how a TidbCluster, its agents, faults and topologies are,
// by what the API server has.
//
// The package is pure.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/networkfault/safety"
	"github.com/tidelay/tidelay/pkg/networkfault/selector"
	"github.com/tidelay/tidelay/pkg/plugin/attach"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/object"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Report is how a TidbCluster is.
type Report struct {
	Namespace string `json:"namespace"`
	Cluster   string `json:"cluster"`
	// Unready has a sentence for what is not healthy.
	Unready []string `json:"unready,omitempty"`
	// Problems are what the TidbCluster's annotations and the check for missed pods say.
	Problems []string `json:"problems,omitempty"`
	Pods     []Pod    `json:"pods"`
	Objects  []Object `json:"objects"`
	// Unseen has a sentence for what the person who asks may not see.
	Unseen []string `json:"unseen,omitempty"`
	// isBlind is whether it is not known which pods are to hold what.
	isBlind bool
}

// Pod is a pod of the TidbCluster.
type Pod struct {
	Name      string                `json:"name"`
	Component tidbcluster.Component `json:"component"`
	Zone      string                `json:"zone,omitempty"`
	Role      string                `json:"role,omitempty"`
	Ready     bool                  `json:"ready"`
	// Agent is how its agent is: "running", "none", or why it does not run.
	Agent string `json:"agent"`
	// Objects are the names of the faults and topologies that its agent is to hold.
	Objects []string `json:"objects,omitempty"`
}

// Object is a fault or a topology.
type Object struct {
	Kind     string          `json:"kind"`
	Name     string          `json:"name"`
	What     string          `json:"what,omitempty"`
	Phase    v1alpha1.Phase  `json:"phase,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Message  string          `json:"message,omitempty"`
	Applied  string          `json:"applied,omitempty"`
	Verified string          `json:"verified,omitempty"`
	Ends     *metav1.Time    `json:"ends,omitempty"`
	Pairs    []v1alpha1.Pair `json:"pairs,omitempty"`
	// untilDeleted is whether it has started and has no end.
	untilDeleted bool
}

// Of reports what is known of a TidbCluster at a moment.
func Of(c *look.Cluster, now time.Time) Report {
	r := Report{Namespace: c.Key.Namespace, Cluster: c.Key.Name, Pods: []Pod{}, Objects: []Object{}, Unseen: slices.Clone(c.Unseen), isBlind: c.Blind}
	zones := zonesOf(c)
	held := heldBy(c, now)
	roles, unknown := rolesOf(c)
	r.Unseen = append(r.Unseen, unknown...)
	for _, p := range c.Pods {
		r.Pods = append(r.Pods, Pod{
			Name: p.Name, Component: p.Facts.Component, Zone: cmp.Or(zones[p.Name], p.Facts.Zone), Ready: p.Facts.Ready,
			Role: roles[p.Name], Agent: agentOf(p), Objects: held[p.Name],
		})
	}
	r.Problems = lost(c)
	for _, o := range c.Objects() {
		r.Objects = append(r.Objects, objectOf(o))
	}
	if c.Object == nil {
		return r
	}
	if !c.Blind {
		r.Unready = unready(c)
	}
	r.Problems = append(r.Problems, tidbcluster.ParseOptIn(c.Object.Annotations).Problems...)
	for _, condition := range c.Object.Status.Conditions {
		if condition.Type == tidbcluster.InjectedCondition && condition.Status != corev1.ConditionTrue && condition.Message != "" {
			r.Problems = append(r.Problems, condition.Message)
		}
	}
	return r
}

// unready says what is not healthy of PD and the stores.
func unready(c *look.Cluster) []string {
	pods := make([]safety.Pod, 0, len(c.Pods))
	for _, p := range c.Pods {
		pods = append(pods, safety.Pod{Name: p.Name, Component: p.Facts.Component, Zone: p.Facts.Zone, Ready: p.Facts.Ready})
	}
	known := safety.FactsOf(c.Object, pods)
	return known.Unready()
}

// zonesOf returns the zones that the topology in force has put pods into.
func zonesOf(c *look.Cluster) map[string]string {
	zones := map[string]string{}
	for _, t := range c.Topologies {
		if t.Status.Phase != v1alpha1.Running {
			continue
		}
		for _, z := range t.Status.Zones {
			for _, pod := range z.Pods {
				zones[pod] = z.Name
			}
		}
	}
	return zones
}

// heldBy returns the names of what each pod's agent is to hold: of what is in force, and not
// of what would start only now.
func heldBy(c *look.Cluster, now time.Time) map[string][]string {
	all, decision := map[string][]string{}, c.InForce(now)
	for _, o := range c.Objects() {
		for _, pod := range decision.Holders(object.Key(o)) {
			all[pod] = append(all[pod], o.GetName())
		}
	}
	return all
}

func objectOf(o client.Object) Object {
	life := object.Life(o)
	one := Object{
		Kind: object.Kind(o), Name: o.GetName(), What: life.What, Phase: life.Phase, Reason: life.Reason, Message: life.Message,
		Applied: life.Applied, Verified: life.Verified, Ends: life.ExpiresAt, Pairs: life.Pairs,
		untilDeleted: life.StartedAt != nil && life.ExpiresAt == nil,
	}
	if one.Phase == "" {
		one.Phase, one.Message = v1alpha1.Pending, "the controller has not seen it yet"
	}
	if c := meta.FindStatusCondition(life.Conditions, v1alpha1.Verified); c != nil && c.Status == metav1.ConditionFalse && one.Phase == v1alpha1.Running {
		one.Message = strings.TrimPrefix(one.Message+"; "+c.Message, "; ")
	}
	return one
}

// agentOf says how the agent of a pod is.
func agentOf(p look.Pod) string {
	agent, has := injection.AgentOf(p.Pod)
	how := ""
	if agent.Attached {
		how = ", attached"
	}
	switch state := agent.Status.State; {
	case !has:
		return "none"
	case state.Waiting != nil:
		return cmp.Or(state.Waiting.Reason, "waiting") + how
	case state.Terminated != nil:
		return cmp.Or(state.Terminated.Reason, "ended") + how
	case state.Running == nil:
		return "unknown" + how
	case agent.Attached:
		return "running" + how
	}
	if slices.ContainsFunc(p.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == injection.ContainerName }) {
		return "running, native"
	}
	return "running"
}

// lost says of which pods an attached agent has ended, and what that leaves.
func lost(c *look.Cluster) []string {
	var all []string
	for _, p := range c.Pods {
		if how := attach.Lost(p.Pod); how != "" {
			all = append(all, fmt.Sprintf("%s: %s. What it held by netem may still be in force, and nothing ends it but a new agent: kubectl tidelay attach -n %s %s", p.Name, how, c.Key.Namespace, c.Key.Name))
		}
	}
	return all
}

// rolesOf returns what pods are now: "leader", "follower", "owner", "store 4, busiest". unknown
// has a sentence for each component of which that is not known.
func rolesOf(c *look.Cluster) (all map[string]string, unknown []string) {
	all = map[string]string{}
	if c.Object == nil {
		return all, nil
	}
	roles := selector.RolesOf(&c.Object.Status)
	for id, store := range roles.Stores {
		all[store.Pod] = storeWords(id, store)
	}
	var pods []selector.Pod
	for _, p := range c.Pods {
		pods = append(pods, selector.Pod{Name: p.Name, Component: p.Facts.Component, Zone: p.Facts.Zone})
	}
	cluster := selector.Cluster{Pods: pods, Roles: roles}
	for text, word := range map[string]string{"pd(leader)": "leader", "pd(follower)": "follower", "ticdc(owner)": "owner", "tikv(busiest)": "busiest"} {
		some, err := selector.Parse(text)
		if err != nil {
			continue
		}
		found, err := cluster.Select(some, 0, selector.Selection{})
		if err != nil {
			continue // nobody is known to be
		}
		for _, p := range found.Pods {
			all[p.Pod.Name] = strings.TrimPrefix(all[p.Pod.Name]+", "+word, ", ")
		}
	}
	for _, component := range tidbcluster.Components() {
		hasPods := slices.ContainsFunc(pods, func(p selector.Pod) bool { return p.Component == component })
		if hasPods && roles.Unsynced[component] {
			unknown = append(unknown, fmt.Sprintf("TiDB Operator could not ask %s: its roles are older, or not known", component))
		}
	}
	return all, unknown
}
