package preview

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/networkfault/selector"
	"github.com/tidelay/tidelay/pkg/plugin/object"
	"github.com/tidelay/tidelay/pkg/plugin/table"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// IsUnsafe reports whether a rule of safety refuses what a life is about.
func IsUnsafe(life v1alpha1.Life) bool {
	rules := []v1alpha1.Allowance{
		v1alpha1.QuorumLoss, v1alpha1.Failover, v1alpha1.LongDelay, v1alpha1.UnhealthyStart, v1alpha1.Upgrade, decide.ReasonProtected,
	}
	return life.Phase != v1alpha1.Running && slices.Contains(rules, v1alpha1.Allowance(life.Reason))
}

// IsInvalid reports whether what was asked for can't be meant, whatever the TidbCluster is.
func IsInvalid(life v1alpha1.Life) bool {
	return life.Phase == v1alpha1.Refused && (life.Reason == decide.ReasonInvalid || life.Reason == decide.ReasonInvalidSelector)
}

// Write writes previews for people.
func Write(w io.Writer, all []Preview) error {
	for i := range all {
		if i > 0 {
			_, _ = fmt.Fprintln(w)
		}
		if err := table.Write(w, all[i].lines); err != nil {
			return fmt.Errorf("write preview: %w", err)
		}
	}
	return nil
}

func (p *Preview) lines(line table.Line) {
	line("%s %s: %s", object.Kind(p.Object), p.Object.GetName(), p.Life.What)
	p.pods(line)
	name := "change"
	for _, c := range p.Changes {
		line("  %s\t%s\t%s, was %s", name, c.Field, c.Is, c.Was)
		name = ""
	}
	if len(p.Groups) > 0 {
		line("")
		line("  BETWEEN\tPAIRS\tALL TOGETHER")
		for _, g := range p.Groups {
			line("  %s\t%d\t%s", g.between(), g.Pairs, g.what())
		}
		line("")
	}
	judged, verdict := p.verdict()
	line("  %s\t%s", judged, verdict)
	if p.Life.Phase != v1alpha1.Refused && len(p.Others) == 0 {
		line("  ends\t%s", p.ends())
	}
}

// pods writes who is on which side, or in which zone.
func (p *Preview) pods(line table.Line) {
	if f, is := p.Object.(*v1alpha1.NetworkFault); is {
		p.side(line, "from", f.Spec.From)
		p.side(line, "to", f.Spec.To)
	}
	for _, z := range p.Zones {
		line("  zone %s\t%s", z.Name, strings.Join(z.Pods, ", "))
	}
	if len(p.Unzoned) > 0 {
		line("  no zone\t%s", strings.Join(p.Unzoned, ", "))
	}
	if len(p.Holders) > 0 {
		line("  agents\t%s", strings.Join(p.Holders, ", "))
	}
	if len(p.Down) > 0 {
		line("  down\t%s: no agent runs there now, so that nothing is in force there before one does", strings.Join(p.Down, ", "))
	}
}

// ends says how the object ends, and how the one that is there would have.
func (p *Preview) ends() string {
	end := cmp.Or(object.End(p.Object), untilCleared)
	if p.Ended != "" && p.Ended != end {
		end += ", was " + strings.TrimPrefix(p.Ended, "by itself ")
	}
	return end
}

// untilCleared is how an object ends that does not end by itself.
const untilCleared = "when it is cleared"

// Compare notes what a change changes. named returns what a field of the spec is called.
func (p *Preview) Compare(before client.Object, named func(field string) string) error {
	p.Ended = cmp.Or(object.End(before), untilCleared)
	var err error
	p.Changes, err = object.Differences(before, p.Object)
	for i := range p.Changes {
		p.Changes[i].Field = named(p.Changes[i].Field)
	}
	return err
}

// side writes the selectors of a side, each with its pods. A range of addresses has none.
func (p *Preview) side(line table.Line, name string, side []v1alpha1.Selector) {
	for _, text := range side {
		some, err := object.Side(string(text))
		if err != nil {
			some = []v1alpha1.Selector{text}
		}
		for _, s := range some {
			var pods []string
			for _, one := range p.Selected {
				if one.Selector == string(s) && !slices.Contains(pods, one.Pod) {
					pods = append(pods, one.Pod)
				}
			}
			text := "  " + name + "\t" + string(s)
			if len(pods) > 0 {
				text += "\t" + strings.Join(pods, ", ") + p.pinned(s)
			}
			line("%s", text)
			name = ""
		}
	}
}

// pinned says that a selector means the pods that it meant when its fault started, if so.
func (p *Preview) pinned(text v1alpha1.Selector) string {
	some, err := selector.Parse(string(text))
	if err != nil || object.Life(p.Object).StartedAt == nil || !some[0].IsPinned() {
		return ""
	}
	return ", as when it started"
}

// between names the two groups.
func (g Group) between() string {
	if g.A == g.B {
		return "within " + g.A
	}
	return g.A + " - " + g.B
}

// what says what happens between the two groups.
func (g Group) what() string {
	if g.Cut == g.Pairs {
		return "partition"
	}
	var parts []string
	if g.Most > 0 {
		text := "+" + fault.FormatDelay(g.Most) + " RTT"
		switch {
		case g.Jitter:
			text = "up to " + text
		case g.Least == 0:
			text = "0 to " + text
		case g.Least < g.Most:
			text = "+" + fault.FormatDelay(g.Least) + " to " + text
		}
		parts = append(parts, text)
	}
	if g.Loss > 0 {
		parts = append(parts, "loss "+g.Loss.String())
	}
	if g.Cut > 0 {
		parts = append(parts, fmt.Sprintf("partition at %d of %s", g.Cut, tidbcluster.Plural(g.Pairs, "pair")))
	}
	return strings.Join(parts, ", ")
}

// verdict says whether it starts: what judged it, and how.
func (p *Preview) verdict() (judged, verdict string) {
	verdict = p.Life.Reason + ": " + Message(p.Life)
	if len(p.Broken) > 0 {
		verdict = list(p.Broken, ", ") + ": " + Message(p.Life)
	}
	switch phase := p.Life.Phase; {
	case IsUnsafe(p.Life):
		return "safety", strings.ToLower(string(phase)) + ": " + verdict
	case phase == v1alpha1.Refused:
		return "refused", verdict
	case phase != v1alpha1.Running:
		return strings.ToLower(string(phase)), verdict
	}
	verdict = "no rule refuses it"
	if len(p.Hidden) > 0 {
		verdict += fmt.Sprintf(" by what is seen here, without %s; the controller judges it with them", strings.Join(p.Hidden, " and "))
	}
	if len(p.Others) > 0 {
		are := " is"
		if len(p.Others) > 1 {
			are = " are"
		}
		verdict = "it is not written, since " + strings.Join(p.Others, ", ") + are + " refused"
	}
	if allowed := object.Allowed(p.Object); len(allowed) > 0 {
		verdict += "; it allows " + list(allowed, " ")
	}
	return "safety", verdict
}

// list joins rules of safety.
func list(rules []v1alpha1.Allowance, separator string) string {
	words := make([]string, 0, len(rules))
	for _, rule := range rules {
		words = append(words, string(rule))
	}
	return strings.Join(words, separator)
}

// Refusal says which rules of safety refuse something, and what a person types to do it all the
// same. so says what became of it.
func Refusal(broken []v1alpha1.Allowance, so string) string {
	rules := "rule"
	if len(broken) > 1 {
		rules = "rules"
	}
	return fmt.Sprintf("refused by the %s of safety %s; %s; --allow %s does it anyway", rules, list(broken, " and "), so, list(broken, ","))
}

// Message returns the message of a life without the end that is for objects that are there.
func Message(life v1alpha1.Life) string {
	return strings.TrimSuffix(life.Message, " "+decide.TriedAgain)
}
