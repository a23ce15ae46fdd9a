package explain

import (
	"fmt"
	"io"
	"strings"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/plugin/container"
	"github.com/tidelay/tidelay/pkg/plugin/table"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
)

// Marks of what is right, wrong, wanted so, and not known. They are in every code page of
// Windows that has letters of Europe.
const (
	markGood    = "√"
	markBad     = "×"
	markNeutral = "-"
	markUnknown = "?"
)

// Write writes the explanation for people: the verdict, the owners, the agent, and what is not
// known.
func (e *Explanation) Write(w io.Writer, style table.Style) error {
	p := &printer{style: style}
	title := "Pod " + e.Namespace + "/" + e.Pod
	if e.Cluster != "" {
		title += fmt.Sprintf(", %s of TidbCluster %s", e.Component, e.Cluster)
	}
	p.line(0, "%s", title)
	p.line(0, "")
	e.verdict(p)
	p.line(0, "")
	e.owners(p)
	if e.Agent != nil {
		p.line(0, "")
		e.Agent.write(p)
	}
	p.line(0, "")
	p.line(0, "settings of the injector: %s", e.Settings)
	if e.Image != "" {
		p.line(0, "image of the agent: %s", e.Image)
	}
	for _, text := range e.Unseen {
		p.marked(0, markUnknown, "%s", text)
	}
	if _, err := io.WriteString(w, p.text.String()); err != nil {
		return fmt.Errorf("write explanation: %w", err)
	}
	return nil
}

// printer writes lines.
type printer struct {
	text  strings.Builder
	style table.Style
}

// line writes a line that is indented so many times.
func (p *printer) line(indent int, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if text != "" {
		text = strings.Repeat("  ", indent) + text
	}
	p.text.WriteString(text + "\n")
}

// marked writes a line with a mark.
func (p *printer) marked(indent int, mark, format string, args ...any) {
	switch mark {
	case markGood:
		mark = p.style.Good(mark)
	case markBad:
		mark = p.style.Bad(mark)
	}
	p.line(indent, "%s %s", mark, fmt.Sprintf(format, args...))
}

func (e *Explanation) verdict(p *printer) {
	pod := "this pod, created now,"
	if e.Agent != nil && e.Agent.Kind == container.Attached {
		p.marked(0, markGood, "It has an agent that was attached while it ran")
		pod = "a new pod in its place"
	}
	p.decision(pod, e.Decision)
	if e.Replacement != nil {
		p.decision("a new pod in its place", *e.Replacement)
	}
	for _, note := range e.Notes {
		p.line(1, "note: %s", note)
	}
}

// decision writes what the injector would do with a pod.
func (p *printer) decision(pod string, d Decision) {
	switch d.Reason {
	case "":
		p.marked(0, markUnknown, "It is not known whether %s would get the agent", pod)
		p.line(1, "%s", d.Detail)
	case injection.Injected:
		p.marked(0, markGood, "%s would get the agent (%s)", sentence(pod), d.Reason)
	case injection.AlreadyInjected:
		p.marked(0, markGood, "It has the agent, and the injector would leave it as it is (%s)", d.Reason)
	default:
		p.marked(0, markOf(d.Reason), "%s would get no agent: %s (%s)", sentence(pod), d.Reason.Because(), d.Reason)
		p.line(1, "%s", d.Detail)
	}
	for _, problem := range d.Problems {
		p.line(1, "%s", p.style.Bad("problem: "+problem))
	}
}

// sentence returns a text as it begins a sentence.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// markOf marks a pod without the agent: as wrong if somebody should hear of it.
func markOf(reason injection.Reason) string {
	if reason.Unwanted() || reason == injection.StaleOwner {
		return markBad
	}
	return markNeutral
}

// owners writes the way from the pod to its TidbCluster, each owner below what it owns.
func (e *Explanation) owners(p *printer) {
	p.line(0, "Owners, as the injector follows them:")
	p.marked(1, markGood, "Pod %s, UID %s", e.Pod, e.UID)
	for i, o := range e.Owners {
		mark, text := o.found()
		p.marked(2+i, mark, "%s %s of %s, UID %s: %s", o.Kind, o.Name, o.APIVersion, o.UID, text)
	}
	if len(e.Owners) == 0 {
		p.marked(2, markNeutral, "no controller owner")
	}
}

// found says what was found of an owner.
func (o *Owner) found() (mark, text string) {
	switch o.Finding {
	case resolve.Found:
		return markGood, "exists, with this UID"
	case resolve.Replaced:
		return markBad, fmt.Sprintf("exists with another UID, %s: it was replaced", o.FoundUID)
	case resolve.Gone:
		return markBad, "does not exist"
	case resolve.Unread:
		return markUnknown, "can't be read: " + o.Error
	default:
		return markNeutral, "leads to no component of a TidbCluster, so it is not looked at"
	}
}
