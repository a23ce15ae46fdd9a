package attach

import (
	"fmt"
	"io"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/plugin/object"
	"github.com/tidelay/tidelay/pkg/plugin/table"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Write says what becomes of which pod, and what is different from an injected agent.
func (p *Plan) Write(w io.Writer) error {
	if err := table.Write(w, p.lines); err != nil {
		return fmt.Errorf("write what is attached: %w", err)
	}
	return nil
}

func (p *Plan) lines(line table.Line) {
	line("TidbCluster %s", p.cluster)
	line("  POD\tCOMPONENT\tAGENT")
	for _, s := range p.Steps {
		line("  %s\t%s\t%s", s.Pod.Name, s.Component, s.words())
	}
	if len(p.With(Attach)) > 0 {
		line("")
		line("  image\t%s", p.image)
		line("  life\t%s", p.life())
		line("  restarts\tnothing is restarted; when the agent ends, it is not either: then attach again")
		line("  stays\tuntil its pod is deleted; it can't be removed")
		line("  token\t%s", p.token())
		line("  memory\tthe pod's, without a limit of its own")
	}
}

// life says what the longest life means.
func (p *Plan) life() string {
	text := object.Short(p.longest)
	if p.longest < p.asked {
		text += fmt.Sprintf(" (not %s: annotation %s or the injector's settings allow no more)", object.Short(p.asked), tidbcluster.MaxDurationAnnotation)
	}
	return text + ": no agent holds a fault for longer without being asked again; for NetworkFaults the controller asks every minute"
}

// token says who may ask the agent.
func (p *Plan) token() string {
	if p.isKnown {
		return "it asks for none, as no agent is to"
	}
	return fmt.Sprintf("it asks for none, and whether agents are to is not known: who reaches port %d of its pod can set faults there", api.Port)
}

func (s Step) words() string {
	switch s.Outcome {
	case Attach:
		text := "attach " + s.Container.Name
		if s.Why != "" {
			text += ": " + s.Why
		}
		return text
	case HasAgent:
		return "has one: " + s.Why
	default:
		return "none: " + s.Why
	}
}

// ofComponents names components.
func ofComponents(components []tidbcluster.Component) string {
	var names []string
	for _, c := range components {
		names = append(names, string(c))
	}
	if len(names) == 0 {
		return ""
	}
	return " of " + strings.Join(names, ", ")
}
