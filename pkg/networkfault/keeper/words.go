package keeper

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// words returns what an agent says about a request in one line, with each sentence once,
// and with the NetworkFaults instead of the names of their faults.
func (r *request) words(text string) string {
	var pairs []string
	for i, one := range r.asked {
		of, name := one.fault.Of(), strconv.Quote(one.fault.Name)
		for _, spelling := range []string{"fault " + name + ofOwner(decide.Owner), "fault " + name, "faults " + name, name + ofOwner(decide.Owner), name} {
			pairs = append(pairs, spelling, of)
		}
		pairs = append(pairs, fmt.Sprintf("faults[%d].", i), of+": ", fmt.Sprintf("faults[%d]", i), of)
	}
	var sentences []string
	for part := range strings.FieldsFuncSeq(strings.NewReplacer(pairs...).Replace(text), func(r rune) bool { return r == '\n' || r == '\r' }) {
		for sentence := range strings.SplitSeq(part, "; ") {
			sentence = strings.TrimSpace(sentence)
			if sentence != "" && !slices.Contains(sentences, sentence) {
				sentences = append(sentences, sentence)
			}
		}
	}
	return shorten(strings.Join(sentences, "; "))
}

// shorten cuts what is passed on of what an agent says.
func shorten(words string) string {
	return strings.ToValidUTF8(words[:min(len(words), maxWords)], "")
}

// ofOwner is what an agent adds to the name of a fault that has an owner.
func ofOwner(owner string) string { return fmt.Sprintf(" of owner %q", owner) }

// warnings returns what an answer warns of about each fault of the request, always in the
// same order.
func (r *request) warnings(answer api.Changes) []decide.Warning {
	all := r.overlaps(answer.Faults)
	for _, text := range answer.Warnings {
		for _, one := range r.asked {
			// One that names two faults is about packets that one takes away from the other.
			// Among those of the request that is meant, and the others are known already.
			if strings.HasPrefix(text, "fault "+strconv.Quote(one.fault.Name)) && !strings.Contains(text, " takes packets away from ") {
				all = append(all, decide.Warning{Objects: one.fault.Objects, Text: r.words(text)})
			}
		}
	}
	slices.SortFunc(all, func(a, b decide.Warning) int {
		return cmp.Or(cmp.Compare(a.Text, b.Text), slices.Compare(a.Objects, b.Objects))
	})
	return slices.CompactFunc(all, func(a, b decide.Warning) bool { return a.Text == b.Text && slices.Equal(a.Objects, b.Objects) })
}

// overlaps warns of the faults of others at the agent that take packets away from those of
// the request. They are read from the faults, and not from the agent's warnings, which
// give another example of such packets each time.
func (r *request) overlaps(faults []api.Fault) []decide.Warning {
	if !slices.ContainsFunc(faults, func(f api.Fault) bool { return f.Owner != decide.Owner }) {
		return nil
	}
	var set []fault.Fault
	for _, f := range faults {
		f.Duration, f.ExpiresAt = "", ""
		if parsed, err := fault.Parse(f, fault.Limits{Stored: true}); err == nil { // a newer agent may have others
			set = append(set, parsed)
		}
	}
	var all []decide.Warning
	for _, o := range fault.Overlaps(set) {
		takes, loses := fault.Find(set, o.Takes), slices.IndexFunc(r.asked, func(h held) bool { return h.fault.Name == o.Loses })
		if takes.Owner == decide.Owner || loses < 0 {
			continue
		}
		of, name := r.asked[loses].fault, strconv.Quote(takes.Name)
		if takes.Owner != "" {
			name += ofOwner(takes.Owner)
		}
		all = append(all, decide.Warning{
			Objects: of.Objects, Text: fmt.Sprintf("fault %s, set at the agent itself, takes packets away from %s, because it is more precise", name, of.Of()),
		})
	}
	return all
}
