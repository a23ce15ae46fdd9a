package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// unknown says of the first pair without a verdict why it has none, as the end of a message;
// "" if all have one.
func unknown(all []Result) string {
	var first *Result
	count := 0
	for i := range all {
		if all[i].Verdict == Unknown {
			count++
			if first == nil {
				first = &all[i]
			}
		}
	}
	if first == nil {
		return ""
	}
	text := fmt.Sprintf("; not known of %s: %s", first.who(), first.why())
	if count > 1 {
		isCounted := slices.ContainsFunc(all, func(r Result) bool { return r.Verdict == Unknown && r.IsCounted() })
		text += fmt.Sprintf("; and of %s more", tidbcluster.Plural(count-1, noun(isCounted)))
	}
	return text
}

// who says between which pods it is, or at which pod.
func (r *Result) who() string {
	if r.IsCounted() {
		return r.From
	}
	return r.From + " to " + r.To
}

// why says why there is no verdict.
func (r *Result) why() string {
	switch {
	case r.Because.Outcome.verdict() != Unknown:
		return "its measurements contradict each other"
	case r.Because.Why != "":
		return r.Because.Why
	}
	switch r.Because.Outcome {
	case Unreachable:
		if r.Port == 0 {
			return "it does not answer to ping"
		}
		return "it does not answer at its agent's port either"
	case Mixed:
		return "most of what came was early, by the reorder that is asked for"
	case Dropped:
		if !r.Asked.Lossy {
			return "nothing came in time behind what else the rate lets through"
		}
		return "nothing came through the loss"
	case Noisy:
		if r.Asked.RTT == 0 {
			return "the network itself varies too much to say that nothing is added"
		}
		return "the network itself varies more than what is asked for"
	case Busy:
		return "the agent measures for somebody else"
	case Begun:
		return "what its agent counts begins anew each time"
	case NotHeld:
		return "its agent does not hold the fault"
	default:
		return "the agent could not measure"
	}
}

// problems says what is wrong: of some that are, the worst first, the first pair and the first
// counter, and how many more there are.
func problems(wrong []Result) string {
	isCounted := func(r Result) bool { return r.IsCounted() }
	named := []int{0}
	if i := slices.IndexFunc(wrong, func(r Result) bool { return r.IsCounted() != wrong[0].IsCounted() }); i > 0 {
		named = append(named, i)
	}
	var all []string
	for _, i := range named {
		all = append(all, wrong[i].problem())
	}
	if more := len(wrong) - len(named); more > 0 {
		all = append(all, fmt.Sprintf("and %s more", tidbcluster.Plural(more, noun(slices.ContainsFunc(wrong, isCounted))))+common(wrong))
	}
	return strings.Join(all, "; ")
}

// common names the pods that all of some wrong pairs and counters have in common, as the end
// of a message; "" if there is none.
func common(wrong []Result) string {
	pods := []string{wrong[0].From, wrong[0].To}
	for _, r := range wrong {
		pods = slices.DeleteFunc(pods, func(pod string) bool { return pod == "" || pod != r.From && pod != r.To })
	}
	if len(pods) == 0 {
		return ""
	}
	return ", all with " + strings.Join(pods, " and ")
}

// problem says what is wrong with a pair, or with what was counted.
func (r *Result) problem() string {
	if r.IsCounted() {
		return r.From + " " + r.wrong()
	}
	return fmt.Sprintf("%s (%s): %s", r.who(), r.by(), r.wrong())
}

// wrong says what is wrong, without the names of pods.
func (r *Result) wrong() string {
	added := r.Because.Measured - r.Because.Before
	switch outcome := r.Because.Outcome; {
	case outcome == NotCut:
		return "an answer in " + milliseconds(r.Because.Measured) + ", a partition asked for"
	case outcome == NoAnswer:
		return "no answer, " + Asked{RTT: r.Asked.RTT}.wanted()
	case outcome != Early && outcome != Late:
		return r.Because.Why
	case added < shortest/10:
		return "nothing added, " + r.Asked.wanted()
	default:
		return milliseconds(added) + " added, " + r.Asked.wanted()
	}
}

// wanted says what is asked for, with what chance may add.
func (a Asked) wanted() string {
	switch {
	case a.RTT == 0 && (a.Lossy || a.Rated):
		return "no delay asked for"
	case a.RTT == 0:
		return "nothing asked for"
	case a.Spread == 0:
		return milliseconds(a.RTT) + " asked for"
	default:
		return milliseconds(a.RTT) + " ±" + milliseconds(a.Spread) + " asked for"
	}
}
