package verify

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// The reasons of the condition Verified.
const (
	// ReasonInTolerance: all that was measured is what was asked for.
	ReasonInTolerance = "InTolerance"
	// ReasonOutOfTolerance: a pair is not what was asked for.
	ReasonOutOfTolerance = "OutOfTolerance"
	// ReasonNotMeasured: nothing was measured, yet or at all.
	ReasonNotMeasured = "NotMeasured"
)

// MaxPairs is how many pairs a status lists.
const MaxPairs = 10

// Result is a Task and what is known of it.
type Result struct {
	Task
	State
}

// Status is what a status says of one object.
type Status struct {
	// Verified counts the pods whose pairs and counters are all right, of those with a verdict:
	// "4/4"; empty for none. Of a wrong pair neither pod counts: nothing tells which it is.
	Verified string
	// Pairs are the furthest from what is asked for, the worst first.
	Pairs []v1alpha1.Pair
	// Condition is that of the type Verified, without its times.
	Condition metav1.Condition
	// IsOpen is whether pairs or counters have no verdict yet, and none of the others is
	// wrong. Then what was said before stays true.
	IsOpen bool
}

// Tell says what the pairs and the counters of an object come to. Has is whether a pod has
// the object, and unseen what of it is not measured. Without a pair that could show its delay
// or its partition, nothing is known of it, whatever counters show beside it.
func Tell(object string, results []Result, has func(pod string) bool, unseen Unseen) Status {
	var s Status
	own := slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return !slices.Contains(r.Objects, object) })
	count := map[Verdict]int{}
	for _, r := range own {
		count[r.Verdict]++
	}
	s.IsOpen = count[Pending] > 0 && count[Wrong] == 0
	known := slices.DeleteFunc(slices.Clone(own), func(r Result) bool { return r.Verdict != Right && r.Verdict != Wrong })
	slices.SortStableFunc(known, func(a, b Result) int {
		return cmp.Or(-cmp.Compare(a.Verdict, b.Verdict), -cmp.Compare(a.Off(), b.Off()), -cmp.Compare(a.Because.Off, b.Because.Off))
	})
	counters := 0
	for _, r := range known {
		if r.IsCounted() {
			counters++
		} else if len(s.Pairs) < MaxPairs {
			s.Pairs = append(s.Pairs, r.pair())
		}
	}
	s.Verified = verified(known, has)
	c := metav1.Condition{Type: v1alpha1.Verified, Status: metav1.ConditionUnknown, Reason: ReasonNotMeasured}
	switch {
	case count[Wrong] > 0:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, ReasonOutOfTolerance, problems(known[:count[Wrong]])
	case s.IsOpen:
		c.Message = "it is being measured"
	case count[Right] > 0 && unseen.NoPair:
		c.Message, s.Verified = found(len(known)-counters, counters)+", as asked for; no delay or partition is measured: "+unseen.Why, ""
	case count[Right] > 0:
		c.Status, c.Reason = metav1.ConditionTrue, ReasonInTolerance
		c.Message = found(len(known)-counters, counters) + ", as asked for" + unknown(own)
		if unseen.Why != "" {
			c.Message += "; not all is measured: " + unseen.Why
		}
	default:
		c.Message = cmp.Or(strings.TrimPrefix(unknown(own), "; "), unseen.Why, "no pair of its pods can be measured now")
	}
	c.Message = tidbcluster.EventNote(c.Message)
	s.Condition = c
	return s
}

// found says of how many pairs and counters there is a verdict.
func found(pairs, counters int) string {
	var all []string
	if pairs > 0 {
		all = append(all, tidbcluster.Plural(pairs, "pair")+" measured")
	}
	if counters > 0 {
		all = append(all, tidbcluster.Plural(counters, "counter")+" compared")
	}
	return strings.Join(all, " and ")
}

// noun is what a pair is called, where counters may be among them.
func noun(isCounted bool) string {
	if isCounted {
		return "verdict"
	}
	return "pair"
}

// verified counts the pods that have the object and of which all pairs and counters
// are right.
func verified(known []Result, has func(pod string) bool) string {
	isRight := map[string]bool{}
	for _, r := range known {
		pods := []string{r.From, r.To}
		if r.IsCounted() {
			pods = pods[:1]
		}
		for _, pod := range pods {
			before, isKnown := isRight[pod]
			isRight[pod] = r.Verdict == Right && (before || !isKnown)
		}
	}
	right, all := 0, 0
	for pod, is := range isRight {
		if has(pod) {
			all++
			if is {
				right++
			}
		}
	}
	if all == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", right, all)
}

// Off is how far a pair is from what is asked for: as far as can be if there is an answer and
// none is asked for, or none and one is. It is 0 for counters.
func (r *Result) Off() time.Duration {
	switch {
	case r.Because.Outcome == NoAnswer, r.Because.Outcome == NotCut:
		return 1<<63 - 1
	case r.Asked.Cut:
		return 0
	}
	return (r.Because.Measured - r.Because.Before - r.Asked.RTT).Abs()
}

// pair returns the pair as a status has it.
func (r *Result) pair() v1alpha1.Pair {
	p := v1alpha1.Pair{From: r.From, To: r.To, Verdict: v1alpha1.PairRight, Asked: milliseconds(r.Asked.RTT), Before: milliseconds(r.Because.Before), Measured: "no answer"}
	if r.Verdict == Wrong {
		p.Verdict = v1alpha1.PairWrong
	}
	if r.Asked.Cut {
		p.Asked = "partition"
	}
	if r.Because.Measured > 0 {
		p.Measured = milliseconds(r.Because.Measured)
	}
	return p
}

// milliseconds returns a time in ms, rounded to a hundredth.
func milliseconds(d time.Duration) string {
	ms := d.Round(10*time.Microsecond).Seconds() * 1000
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(ms, 'f', 2, 64), "0"), ".") + "ms"
}
