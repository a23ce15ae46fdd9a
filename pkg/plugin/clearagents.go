package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/agent/api"
	agentclient "github.com/tidelay/tidelay/pkg/agent/client"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/networkfault/facts"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
)

// endTime is how long an agent may take to end faults.
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
	return append(pods.clusters(), look.Names(ctx, c.connection, c.namespace)...)
}

// ended is what came of ending faults at an agent.
type ended struct {
	// faults are those that were ended, or would be, and left are the others.
	faults, left []api.Fault
}

// endAt ends the faults of an agent that are to be ended. It needs no answer to the question
// which there are.
func (c *clearing) endAt(ctx context.Context, agent *agentclient.Client) (ended, error) {
	before, err := agent.Faults(ctx)
	var e ended
	for _, f := range before.Body.Faults {
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
		_, err = agent.DeleteFaults(ctx)
	default:
		_, err = agent.ReplaceOwned(ctx, decide.Owner, nil)
	}
	return e, err
}

// end ends faults at agents. If it is to wait, it asks each until that holds nothing to be
// ended: the controller may have set a fault again that it had not yet seen the end of.
func (c *clearing) end(ctx context.Context, pods agentPods) {
	pods = slices.DeleteFunc(pods, c.isDown)
	if len(pods) == 0 {
		return
	}
	found := map[string]agents.Reply[ended]{}
	var waits sync.Once
	deadline := time.NewTimer(c.timeout)
	defer deadline.Stop()
	tick := time.NewTicker(c.Poll)
	defer tick.Stop()
	for rest := pods; len(rest) > 0; {
		// Ctrl-C ends the waiting, and no ending that has begun.
		replies := agents.Ask(context.WithoutCancel(ctx), c.connection.Agents, rest, c.limit, c.endAt)
		var again agentPods
		for i, reply := range replies {
			name := rest[i].Name
			reply.Body.faults = append(found[name].Body.faults, reply.Body.faults...)
			isDone := reply.Err == nil && len(reply.Body.faults) == len(found[name].Body.faults)
			if found[name] = reply; !isDone && agents.OutcomeOf(reply.Err) != agents.Forbidden {
				again = append(again, rest[i])
			}
		}
		if rest = again; !c.wait || c.dryRun || len(rest) == 0 {
			break
		}
		if silent := rest.silent(found); len(silent) > 0 {
			waits.Do(func() { c.say("waiting for the agents of %s", strings.Join(silent, ", ")) })
		}
		select {
		case <-ctx.Done():
			rest = nil
		case <-deadline.C:
			rest = nil
		case <-tick.C:
		}
	}
	c.tell(pods, found)
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

// isDown reports whether the agent of a pod does not run. If it has run before, the kernel may
// still have its faults, which is told.
func (c *clearing) isDown(pod *corev1.Pod) bool {
	status := facts.Agent(pod)
	if status.State.Running != nil {
		return false
	}
	if status.State.Terminated != nil || status.LastTerminationState.Terminated != nil {
		c.fail("%s: its agent does not run: what it held may last until it runs again", pod.Name)
	}
	return true
}

// tell says what came of ending faults at agents.
func (c *clearing) tell(pods agentPods, found map[string]agents.Reply[ended]) {
	empty, held := 0, 0
	var causes []string
	failed := map[string][]string{}
	done, isForbidden := "ended", false
	if c.dryRun {
		done = "would be ended"
	}
	for _, pod := range pods {
		reply := found[pod.Name]
		switch {
		case agents.OutcomeOf(reply.Err) == agents.Forbidden:
			isForbidden = true
			continue
		case reply.Err != nil:
			cause := agents.Cause(reply.Err)
			if failed[cause] == nil {
				causes = append(causes, cause)
			}
			failed[cause] = append(failed[cause], pod.Name)
			continue
		}
		empty++
		if byController, byHand := sorted(reply.Body.faults); len(byHand) > 0 {
			c.say("%s at %s: %s, set by hand", done, pod.Name, strings.Join(byHand, ", "))
		} else if byController {
			held++
		}
		if _, byHand := sorted(reply.Body.left); len(byHand) > 0 {
			c.say("left at %s: %s, set by hand; kubectl tidelay clear -n %s --all ends that too", pod.Name, strings.Join(byHand, ", "), c.namespace)
		}
	}
	switch {
	case held == 0 && c.dryRun:
	case c.dryRun:
		c.say("agents of %s hold faults of the controller, which would be ended", tidbcluster.Plural(held, "pod"))
	case empty > 0 && c.isAll:
		c.say("%d of %d agents hold no faults now", empty, len(pods))
	case empty > 0:
		c.say("%d of %d agents hold none of the controller's faults now", empty, len(pods))
	}
	for _, cause := range causes {
		c.fail("%s: the agent was not told: %s; %s", strings.Join(failed[cause], ", "), cause, c.lasts())
	}
	if isForbidden {
		c.forbidden()
	}
}

// sorted parts faults in those of the controller and the names of those that were set by hand.
func sorted(faults []api.Fault) (byController bool, byHand []string) {
	for _, f := range faults {
		switch {
		case f.Owner == decide.Owner:
			byController = true
		case !slices.Contains(byHand, f.Name):
			byHand = append(byHand, f.Name)
		}
	}
	return byController, byHand
}

// lasts says how long an agent that is not told holds its faults.
func (c *clearing) lasts() string {
	text := "what the controller set ends there by itself, at the latest in 5 minutes, as long as the agent runs"
	if c.isAll {
		text += ", and what was set by hand does not"
	}
	return text
}

// forbidden says that agents can't be told, and what becomes of them.
func (c *clearing) forbidden() {
	const text = "you may not ask agents, which takes the rights to get, update and delete pods/proxy: "
	if c.isAll {
		c.fail(text + c.lasts())
		return
	}
	c.say(text + "the controller tells them, and without it they let go by themselves, at the latest in 5 minutes")
}
