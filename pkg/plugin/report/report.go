// Package report says in one screen how a TidbCluster, its agents, faults and topologies are,
// by what the API server has and by what the agents answered.
//
// The package is pure.
package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/networkfault/safety"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
	"github.com/tidelay/tidelay/pkg/plugin/container"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/object"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Input is what is known at a moment.
type Input struct {
	Cluster *look.Cluster
	// Replies are those of the agents that were asked how they are, by their pods' names.
	Replies map[string]agents.Reply[api.Status]
	// Version is that of the program that shows the report.
	Version string
	Now     time.Time
}

// Report is how a TidbCluster is.
type Report struct {
	Namespace string `json:"namespace"`
	Cluster   string `json:"cluster"`
	// Unready has a sentence for what is not healthy.
	Unready []string `json:"unready,omitempty"`
	// Problems are what the TidbCluster's annotations and the check for missed pods say, and
	// what is too old.
	Problems []string `json:"problems,omitempty"`
	// Protected is whether the TidbCluster takes no fault, by its annotation.
	Protected bool `json:"protected,omitempty"`
	// NoController is since when no replica of the controller leads; null if one does, or if
	// that is not known.
	NoController *metav1.Time `json:"noControllerSince,omitempty"`
	// ZonesBy is the name of the topology by which pods are in zones; empty if zones are those of
	// nodes, as none is in force.
	ZonesBy string   `json:"zonesBy,omitempty"`
	Pods    []Pod    `json:"pods"`
	Objects []Object `json:"objects"`
	// Unseen has a sentence for what the person who asks may not see.
	Unseen []string `json:"unseen,omitempty"`
	// Unknown has a sentence for what TiDB Operator does not know.
	Unknown []string `json:"unknown,omitempty"`
	// isBlind is whether it is not known which pods are to hold what, and isVeiled whether there
	// may be other faults and topologies.
	isBlind, isVeiled bool
}

// Pod is a pod of the TidbCluster.
type Pod struct {
	Name      string                `json:"name"`
	Component tidbcluster.Component `json:"component"`
	Zone      string                `json:"zone,omitempty"`
	Role      string                `json:"role,omitempty"`
	Ready     bool                  `json:"ready"`
	Agent     Agent                 `json:"agent"`
	// Objects are the names of the faults and topologies that its agent is to hold.
	Objects []string `json:"objects,omitempty"`
	// Lacks are those of them that the agent does not hold whole, by its own answer.
	Lacks []string `json:"lacks,omitempty"`
}

// leaseGrace is how long a Lease may be over before that is told: the clocks of people and of
// API servers differ.
const leaseGrace = 30 * time.Second

// Of reports what is known of a TidbCluster at a moment.
func Of(in Input) Report {
	c := in.Cluster
	r := Report{Namespace: c.Key.Namespace, Cluster: c.Key.Name, Pods: []Pod{}, Objects: []Object{}, Unseen: slices.Clone(c.Unseen), isBlind: !c.IsAskedKnown(), isVeiled: c.Veiled}
	if !c.LeaseEnd.IsZero() && in.Now.Sub(c.LeaseEnd) > leaseGrace {
		r.NoController = &metav1.Time{Time: c.LeaseEnd}
	}
	var zones map[string]string
	zones, r.ZonesBy = c.Zones()
	wanted := wanted(c.InForce(in.Now).Faults)
	roles, unknown := rolesOf(c)
	r.Unseen, r.Unknown = append(r.Unseen, unseenAgents(in)...), unknown
	if c.IsNothing() {
		r.Unseen = append(r.Unseen, fmt.Sprintf("no pod, fault or topology of %s can be seen: there may be no such TidbCluster", c.Key.Name))
	}
	for _, p := range c.Pods {
		one := Pod{
			Name: p.Name, Component: p.Facts.Component, Zone: zones[p.Name], Ready: p.Facts.Ready,
			Role: roles[p.Name], Agent: agentOf(p), Objects: wanted.objects(p.Name),
		}
		if reply, isAsked := in.Replies[p.Name]; isAsked {
			one.Agent.answered(reply)
			wanted.compare(&one, c)
		}
		r.Pods = append(r.Pods, one)
	}
	for _, o := range c.Objects() {
		r.Objects = append(r.Objects, objectOf(o))
	}
	r.Problems = slices.Concat(lost(c), incomplete(c), r.problems(in), r.old(c, in.Version))
	if c.Object != nil {
		r.Protected = tidbcluster.IsProtected(c.Object.Annotations)
	}
	if c.Object != nil && !c.Blind {
		r.Unready = unready(c)
	}
	return r
}

// problems are what the TidbCluster's annotations and the check for missed pods say.
func (r *Report) problems(in Input) []string {
	c := in.Cluster
	if c.Object == nil {
		return nil
	}
	all := tidbcluster.ParseOptIn(c.Object.Annotations).Problems
	for _, condition := range c.Object.Status.Conditions {
		if condition.Type == tidbcluster.InjectedCondition && condition.Status != corev1.ConditionTrue && condition.Message != "" {
			all = append(all, r.checked(condition.Reason, condition.Message, condition.LastUpdateTime.Time)...)
		}
	}
	return all
}

// notRunning is the reason by which the controller's check for missed pods says that agents do
// not run.
const notRunning = "agent_not_running"

// checked returns what the check for missed pods said at a time, with its reason. It comes now
// and then: where it said that agents do not run, that is left out if all of them answer now, and
// the time is told if one that it names does.
func (r *Report) checked(reason, message string, at time.Time) []string {
	answers := func(p Pod) bool { return p.Agent.State == Answers }
	isNamed := func(p Pod) bool { return answers(p) && strings.Contains(message, p.Name+" (") }
	switch {
	case reason != notRunning || !slices.ContainsFunc(r.Pods, isNamed):
		return []string{message}
	case !slices.ContainsFunc(r.Pods, func(p Pod) bool { return !answers(p) }):
		return nil
	default:
		return []string{fmt.Sprintf("the controller said at %s, and agents may run since: %s", at.UTC().Format("2006-01-02 15:04:05 UTC"), message)}
	}
}

// lost says of which pods an attached agent has ended, and what that leaves.
func lost(c *look.Cluster) []string {
	var all []string
	for _, p := range c.Pods {
		if how := container.Lost(p.Pod); how != "" {
			all = append(all, fmt.Sprintf("%s: %s: %s; to attach one: kubectl tidelay attach -n %s %s", p.Name, how, container.Leaves, c.Key.Namespace, c.Key.Name))
		}
	}
	return all
}

// incomplete says which shapes are only a part of what was asked for.
func incomplete(c *look.Cluster) []string {
	var all []string
	for _, s := range object.IncompleteShapes(c.Faults) {
		all = append(all, fmt.Sprintf("the shape %s lacks %d of its %d NetworkFaults, so that it is another one now; to end it: kubectl tidelay clear -n %s shape/%s",
			s.Name, s.Size-s.Left, s.Size, c.Key.Namespace, s.Name))
	}
	return all
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
