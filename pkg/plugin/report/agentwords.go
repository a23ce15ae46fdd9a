package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/plugin/container"
	"github.com/tidelay/tidelay/pkg/plugin/table"
)

// agents says in a line how many agents answer, and what those are; empty if none was asked.
func (r *Report) agents() string {
	var all, answer int
	var are []string
	for _, p := range r.Pods {
		if p.Agent.State == None {
			continue
		}
		all++
		if p.Agent.State == Answers {
			answer++
			are = append(are, p.Agent.what())
		}
	}
	isAsked := slices.ContainsFunc(r.Pods, func(p Pod) bool { return slices.Contains([]string{Answers, Silent, Old, Refuses}, p.Agent.State) })
	if !isAsked {
		return ""
	}
	slices.Sort(are)
	text := fmt.Sprintf("agents: %d of %d answer", answer, all)
	if are = slices.Compact(are); len(are) > 0 {
		text += ": " + strings.Join(are, "; ")
	}
	return text
}

// what says what an agent is: "netem, v1.2.3, sidecar".
func (a *Agent) what() string {
	words := []string{a.Engine, a.Version, string(a.Kind)}
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), ", ")
}

// words says in a cell how an agent is.
func (a *Agent) words(isWide bool) string {
	switch {
	case a.State != Answers && a.Kind == container.Native:
		return a.State + ", native"
	case a.State != Answers:
		return a.State
	case isWide:
		return a.what()
	}
	text := table.Dash(a.Engine)
	if a.Engine == api.EngineNone {
		text = "no engine"
	}
	if a.Kind == container.Attached {
		text += ", attached"
	}
	return text
}

// maxNames is how wide the names of what an agent holds may be, so that a line has no more than
// 120 columns.
const maxNames = 30

// holds says in a cell what the agent of a pod holds; of one that does not answer, what it is
// to hold.
func (p *Pod) holds(isWide, isBlind bool) string {
	var names []string
	switch a := &p.Agent; a.State {
	case Answers:
		names = a.names()
	case None, Running:
		if isBlind {
			return "?"
		}
		names = p.Objects
	default: // it may hold any of them
		if isBlind || len(p.Objects) == 0 {
			return "?"
		}
		for _, name := range p.Objects {
			names = append(names, name+"?")
		}
	}
	text := table.Dash(strings.Join(names, ","))
	if len(text) > maxNames && !isWide {
		return fmt.Sprintf("%d, see -o wide", len(names))
	}
	return text
}

// names returns the names of the faults and topologies that an agent holds, and of the faults
// that were set by hand, in order.
func (a *Agent) names() []string {
	var all []string
	for i := range a.Faults {
		h := &a.Faults[i]
		if len(h.Objects) == 0 {
			all = append(all, h.Name)
		}
		all = append(all, h.Objects...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// held lists what agents hold: what was set by hand, and if it is to be wide, all of it.
func (r *Report) held(line table.Line, now time.Time, isWide bool) {
	isFirst := true
	for _, p := range r.Pods {
		for i := range p.Agent.Faults {
			h := &p.Agent.Faults[i]
			if !h.isByHand() && !isWide {
				continue
			}
			if isFirst {
				line("")
				line("AGENT OF\tHOLDS\tOWNER\tLEFT\tIN KERNEL\tWHAT")
				isFirst = false
			}
			inKernel := "yes"
			if !h.InKernel {
				inKernel = "no"
			}
			line("%s\t%s\t%s\t%s\t%s\t%s", p.Name, h.Name, h.owner(), h.left(now), inKernel, table.Dash(h.What))
		}
	}
}

func (h *Held) owner() string {
	switch {
	case h.Owner == "":
		return "by hand"
	case h.isByHand():
		return h.Owner
	default:
		return "controller"
	}
}

func (h *Held) left(now time.Time) string {
	if h.Ends == nil {
		return "until cleared"
	}
	return lasts(h.Ends.Sub(now))
}

// notes says what is not as it should be of agents, each once with all pods that it is about.
func (r *Report) notes(line table.Line, style table.Style) {
	var texts []string
	pods := map[string][]string{}
	note := func(pod, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if pods[text] == nil {
			texts = append(texts, text)
		}
		pods[text] = append(pods[text], pod)
	}
	for i := range r.Pods {
		r.Pods[i].note(func(format string, args ...any) { note(r.Pods[i].Name, format, args...) })
	}
	for i, text := range texts {
		if i == 0 {
			line("")
		}
		line("%s: %s", strings.Join(pods[text], ", "), style.Bad(text))
	}
}

// note says what is not as it should be of the agent of a pod.
func (p *Pod) note(note func(format string, args ...any)) {
	a := &p.Agent
	switch {
	case a.State == None && a.Reason == "":
		note("no agent: kubectl tidelay explain POD says why")
	case a.Reason == "":
	case a.State == None:
		note("no agent: %s", a.Reason)
	case a.State == Silent:
		note("the agent is silent: %s", a.Reason)
	case a.State == Unknown:
		note("asking the agent failed: %s", a.Reason)
	case a.State == Refuses:
		note("the agent does not say how it is: %s", a.Reason)
	case a.State == Old:
		note("the agent is older than this plugin: %s", a.Reason)
	default:
		note("no engine works: %s", a.Reason)
	}
	for _, name := range p.Lacks {
		note("the agent does not hold %s", name)
	}
	for i := range a.Faults {
		switch h := &a.Faults[i]; {
		case !h.InKernel:
			note("the kernel does not have all of fault %s", h.Name)
		case h.IsLeft:
			note("the agent still holds fault %s, which nothing asks for", h.Name)
		}
	}
	for _, text := range a.Warnings {
		note("warning: %s", text)
	}
}

// Left returns the names of the pods whose agents hold what nothing asks for any more, and of
// those whose agents do not say what they hold.
func (r *Report) Left() (left, silent []string) {
	for _, p := range r.Pods {
		switch {
		case slices.ContainsFunc(p.Agent.Faults, func(h Held) bool { return h.IsLeft }):
			left = append(left, p.Name)
		case p.Agent.State != None && p.Agent.State != Answers:
			silent = append(silent, p.Name)
		}
	}
	return left, silent
}
