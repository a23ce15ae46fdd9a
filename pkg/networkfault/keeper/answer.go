package keeper

import (
	"slices"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// judgeAnswer compares an answer with the request. The faults of Owner must be those
// that were asked for.
func (r *request) judgeAnswer(answer api.Changes) result {
	var own []api.Fault
	for _, f := range answer.Faults {
		if f.Owner == decide.Owner {
			own = append(own, f)
		}
	}
	res := result{outcome: ok, warnings: r.warnings(answer)}
	for i := range r.asked {
		if slices.ContainsFunc(own, func(f api.Fault) bool { return isSame(f, r.faults[i]) }) {
			res.confirmed = append(res.confirmed, r.asked[i])
		}
	}
	if len(res.confirmed) < len(r.asked) || len(own) > len(r.asked) {
		res.outcome, res.words = otherFaults, "the agent answered with other faults than it was asked for"
	}
	return res
}

// isSame reports whether a fault of an answer does the same as one that was asked for. An
// answer has every value in its shortest form, so that both are read before they are
// compared.
func isSame(answered, asked api.Fault) bool {
	if answered.Name != asked.Name {
		return false
	}
	answered.Duration, answered.ExpiresAt, asked.Duration = "", "", ""
	limits := fault.Limits{Stored: true}
	a, errA := fault.Parse(answered, limits)
	b, errB := fault.Parse(asked, limits)
	return errA == nil && errB == nil && a.SameEffect(b)
}

// removed returns the names of the faults that a request ended.
func removed(answer api.Changes) []string {
	var names []string
	for _, c := range answer.Changes {
		if c.Action == api.ActionRemove {
			names = append(names, c.Name)
		}
	}
	return names
}

// putRight returns what a renewal had to change although the agent had confirmed it
// before. What ended there in the meantime is not among it. before are the faults that
// it had confirmed.
func (r *request) putRight(answer api.Changes, before []held, now time.Time) []api.Change {
	if !r.isRenewal {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(answer.Changes), func(c api.Change) bool {
		isOf := func(h held) bool { return h.fault.Name == c.Name }
		was, is := slices.IndexFunc(before, isOf), slices.ContainsFunc(r.asked, isOf)
		switch {
		case c.Action == api.ActionKeep:
			return true
		case is: // it should have been there
			return was < 0 || !before[was].until.After(now)
		default: // if it is one that has ended, it was still there or gone, and both are fine
			return was >= 0
		}
	})
}
