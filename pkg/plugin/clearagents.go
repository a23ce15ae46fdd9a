package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/networkfault/facts"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
	"github.com/tidelay/tidelay/pkg/plugin/container"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
)

// endTime is how long an agent may take to say what it holds, and again to end it.
const endTime = 5 * time.Second

// agentPods are pods with agents.
type agentPods []*corev1.Pod

// pods returns the pods of the namespace that have agents. They go by their names: fewer reads
// can fail, and no other pod has an agent.
func (c *clearing) pods(ctx context.Context) (agentPods, error) {
	var all corev1.PodList
	if err := c.connection.List(ctx, &all, client.InNamespace(c.namespace), client.MatchingLabels(tidbcluster.OperatorLabels())); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	var some agentPods
	for i := range all.Items {
		pod := &all.Items[i]
		if injection.HasAgent(pod) && !facts.HasEnded(pod) && resolve.ClusterName(pod) != "" {
			some = append(some, pod)
		}
	}
	return some, nil
}

// clusters returns the names of the TidbClusters of pods.
func (p agentPods) clusters() []string {
	var all []string
	for _, pod := range p {
		all = append(all, resolve.ClusterName(pod))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// of returns the pods of some TidbClusters.
func (p agentPods) of(clusters []string) agentPods {
	return slices.DeleteFunc(slices.Clone(p), func(pod *corev1.Pod) bool { return !slices.Contains(clusters, resolve.ClusterName(pod)) })
}

// clusters returns the names of the TidbClusters that there are, as far as that can be seen.
func (c *clearing) clusters(ctx context.Context, pods agentPods) []string {
	all := append(pods.clusters(), look.Names(ctx, c.connection, c.namespace)...)
	slices.Sort(all)
	return slices.Compact(all)
}

// ended is what came of ending faults at an agent.
type ended struct {
	// faults are those that were ended, or would be, and left are the others.
	faults, left []api.Fault
	// times is how often it was told to end some.
	times int
}

// endAt ends the faults of an agent that are to be ended. It needs no answer to the question
// which there are.
func (c *clearing) endAt(ctx context.Context, agent *agents.Agent) (ended, error) {
	before, err := agent.Faults(ctx)
	var e ended
	for _, f := range before {
		if c.isAll || f.Owner == decide.Owner {
			e.faults = append(e.faults, f)
		} else {
			e.left = append(e.left, f)
		}
	}
	switch {
	case c.dryRun, err == nil && len(e.faults) == 0:
		return e, err
	case c.isAll:
		err = agent.DeleteFaults(ctx)
	default:
		err = agent.DeleteOwned(ctx, decide.Owner)
	}
	return e, err
}

// end ends faults at agents. If it is to wait, it asks each until that holds nothing to be
// ended: the controller may have set a fault again that it had not yet seen the end of.
func (c *clearing) end(ctx context.Context, pods agentPods) {
	if pods = c.running(pods); len(pods) == 0 {
		return
	}
	found := map[string]agents.Reply[ended]{}
	var waits sync.Once
	deadline := time.NewTimer(c.timeout)
	defer deadline.Stop()
	tick := time.NewTicker(c.Poll)
	defer tick.Stop()
	rest := c.round(ctx, pods, found)
	for c.wait && !c.dryRun && len(rest) > 0 && ctx.Err() == nil {
		if silent := rest.silent(found); len(silent) > 0 {
			waits.Do(func() { c.say("waiting for the agents of %s", strings.Join(silent, ", ")) })
		}
		select {
		case <-ctx.Done():
			continue
		case <-tick.C:
			rest = c.round(ctx, rest, found)
			continue
		case <-deadline.C:
		}
		break
	}
	if c.wait && !c.dryRun {
		rest.doubt(found)
	}
	c.tell(pods, found)
}

// Why it is not known that an agent holds nothing, though it was told.
var (
	errSetAgain = errors.New("had faults again each time that it was asked")
	errNotAsked = errors.New("was told, and not asked again whether it holds faults")
	errNoWord   = errors.New("was told, and does not say whether it holds faults")
)

// doubt adds to what was found that these agents, where they were told, never said that they
// hold nothing.
func (p agentPods) doubt(found map[string]agents.Reply[ended]) {
	for _, pod := range p {
		reply := found[pod.Name]
		switch {
		case reply.Err != nil && reply.Body.times > 0 && agents.OutcomeOf(reply.Err) != agents.Forbidden:
			reply.Err = fmt.Errorf("%w: %s", errNoWord, agents.Cause(reply.Err))
		case reply.Err != nil:
		case reply.Body.times > 1:
			reply.Err = errSetAgain
		default:
			reply.Err = errNotAsked
		}
		found[pod.Name] = reply
	}
}

// round ends faults at agents, adds what came of it to what was found, and returns the pods
// whose agents have not yet said that they hold nothing to be ended. Ctrl-C ends the waiting,
// and no ending that has begun.
func (c *clearing) round(ctx context.Context, pods agentPods, found map[string]agents.Reply[ended]) agentPods {
	var rest agentPods
	for i, reply := range agents.Ask(context.WithoutCancel(ctx), c.connection.asker(endTime), pods, c.endAt) {
		name := pods[i].Name
		isDone := reply.Err == nil && len(reply.Body.faults) == 0
		before := found[name].Body
		reply.Body.faults = append(before.faults, reply.Body.faults...)
		if reply.Body.times = before.times; reply.Err == nil && !isDone {
			reply.Body.times++
		}
		if found[name] = reply; !isDone && agents.OutcomeOf(reply.Err) != agents.Forbidden {
			rest = append(rest, pods[i])
		}
	}
	return rest
}

// silent returns the names of those pods whose agents could not be told.
func (p agentPods) silent(found map[string]agents.Reply[ended]) []string {
	var all []string
	for _, pod := range p {
		if found[pod.Name].Err != nil {
			all = append(all, pod.Name)
		}
	}
	return all
}

// running returns the pods whose agents run. The kernel of a pod whose agent has run before may
// still have its faults, which is told.
func (c *clearing) running(pods agentPods) agentPods {
	var some agentPods
	for _, pod := range pods {
		switch agent, _ := container.Of(pod); {
		case agent.Phase() == container.Running:
			some = append(some, pod)
		case container.Lost(pod) != "":
			c.fail("%s: %s: %s", pod.Name, container.Lost(pod), container.Leaves)
		case agent.HasRun():
			c.fail("%s: its agent does not run (%s): what it held may last until it runs again", pod.Name, agent.Word())
		}
	}
	return some
}
