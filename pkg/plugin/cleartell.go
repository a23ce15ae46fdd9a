package plugin

import (
	"errors"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// tell says what came of ending faults at agents.
func (c *clearing) tell(pods agentPods, found map[string]agents.Reply[ended]) {
	answered, held := 0, 0
	done := "ended"
	if c.dryRun {
		done = "would be ended"
	}
	for _, pod := range pods {
		reply := found[pod.Name]
		if reply.Err != nil {
			continue
		}
		answered++
		byController, byHand := sorted(reply.Body.faults)
		if byController {
			held++
		}
		if len(byHand) > 0 {
			c.say("%s at %s: %s, set by hand", done, pod.Name, strings.Join(byHand, ", "))
		}
		if _, byHand := sorted(reply.Body.left); len(byHand) > 0 {
			c.say("left at %s: %s, set by hand; kubectl tidelay clear -n %s --all ends that too", pod.Name, strings.Join(byHand, ", "), c.namespace)
		}
	}
	switch {
	case c.dryRun && held > 0:
		c.say("agents of %s hold faults of the controller, which would be ended", tidbcluster.Plural(held, "pod"))
	case c.dryRun || answered == 0:
	case c.isAll:
		c.say("%d of %d agents hold no faults now", answered, len(pods))
	default:
		c.say("%d of %d agents hold none of the controller's faults now", answered, len(pods))
	}
	c.tellFailed(pods, found)
}

// causeOf says after the name of an agent why it may hold faults.
func causeOf(err error) string {
	if errors.Is(err, errSetAgain) || errors.Is(err, errNotAsked) || errors.Is(err, errNoWord) {
		return err.Error()
	}
	return "was not told: " + agents.Cause(err)
}

// tellFailed says which agents may hold faults, each cause once.
func (c *clearing) tellFailed(pods agentPods, found map[string]agents.Reply[ended]) {
	var causes []string
	failed := map[string][]string{}
	var rights []string // that are missing
	for _, pod := range pods {
		err := found[pod.Name].Err
		switch {
		case err == nil:
		case agents.OutcomeOf(err) == agents.Forbidden:
			if right := agents.MissingRight(err, "get, update and delete"); !slices.Contains(rights, right) {
				rights = append(rights, right)
			}
		default:
			cause := causeOf(err)
			if failed[cause] == nil {
				causes = append(causes, cause)
			}
			failed[cause] = append(failed[cause], pod.Name)
		}
	}
	for _, cause := range causes {
		c.fail("%s: the agent %s; %s", strings.Join(failed[cause], ", "), cause, c.lasts())
	}
	for _, right := range rights {
		text := "you may not ask agents, which takes the right to " + right
		if c.isAll {
			c.fail("%s: %s", text, c.lasts())
		} else {
			c.say("%s: the controller tells them, and without it they let go by themselves, at the latest in 5 minutes", text)
		}
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
