package surveyor

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

// agent is what is known of an agent. The Surveyor's mutex guards it.
type agent struct {
	cluster types.NamespacedName
	target  Target
	tasks   []*task
	// isBusy is whether it measures, or tells its counters.
	isBusy bool
	// began is when its last measurement did; rests is until when none may, so that people can
	// have it measure.
	began, rests time.Time
	// recent are the beginnings of its last measurements, at most PerMinute of them, oldest
	// first.
	recent []time.Time
	// busy is since when it measures for somebody else each time; zero if it did not the last
	// time.
	busy time.Time
	// looks counts the measurements in a row that went to tasks in doubt.
	looks int
}

// task is one of its tasks, and what is known of it.
type task struct {
	verify.Task
	state verify.State
	began time.Time // the last measurement; zero for none
	// before is the reading that the next is compared with, of counters; nil for none.
	before *verify.Reading
	// isGone is whether nobody wants to know any more.
	isGone bool
	// isStale is whether what is being found is of a time before faults were put right.
	isStale bool
}

// isInDoubt reports whether another look is wanted although there is a verdict: it is wrong,
// or the last measurement contradicts it.
func (t *task) isInDoubt() bool {
	return t.state.Verdict == verify.Wrong || t.state.Verdict != verify.Pending && t.state.IsOpen()
}

// pods returns the names of the pods that it is about.
func (t *task) pods() []string {
	if t.IsCounted() {
		return []string{t.From}
	}
	return []string{t.From, t.To}
}

// assign gives the agent other tasks, of which it keeps what it knows. At another address
// it knows nothing.
func (a *agent) assign(one Assignment) {
	old := a.tasks
	isMoved := a.target.Addr != one.Addr
	a.target, a.tasks = one.Target, make([]*task, 0, len(one.Tasks))
	for _, t := range one.Tasks {
		i := slices.IndexFunc(old, func(o *task) bool { return !isMoved && o.Check == t.Check })
		if i < 0 {
			a.tasks = append(a.tasks, &task{Task: t})
			continue
		}
		old[i].Task = t
		a.tasks = append(a.tasks, old[i])
		old = slices.Delete(slices.Clone(old), i, i+1)
	}
	for _, t := range old {
		t.isGone = true
	}
}

// with returns the tasks that are done together with one that is due: the counters of all
// faults are read at once.
func (a *agent) with(due *task) []*task {
	if !due.IsCounted() {
		return []*task{due}
	}
	var all []*task
	for _, t := range a.tasks {
		if t.IsCounted() && !t.Waits {
			all = append(all, t)
		}
	}
	return all
}

// next returns the task to measure next, and when; nil for none. Fair is the least time between
// the measurements of an agent at which those of all agents take half of what there may be.
func (a *agent) next(fair time.Duration) (*task, time.Time) {
	var first *task
	for _, t := range a.tasks {
		if t.Waits {
			continue
		}
		if first == nil || a.isBefore(t, first) {
			first = t
		}
	}
	if first == nil {
		return nil, time.Time{}
	}
	var apart time.Duration
	switch {
	case first.began.IsZero() && a.isFresh():
	case first.began.IsZero(), first.state.IsOpen():
		apart = pause
	case first.isInDoubt() || a.looks > 0:
		apart = max(pause, fair)
	default:
		apart = max(turn, fair)
	}
	return first, latest(a.free(), a.began.Add(apart))
}

// free returns from when on the agent may measure.
func (a *agent) free() time.Time {
	if len(a.recent) < PerMinute {
		return a.rests
	}
	return latest(a.rests, a.recent[0].Add(minute))
}

// isFresh reports whether it has measured so little of late that what was never measured need
// not wait.
func (a *agent) isFresh() bool {
	i := len(a.recent) - quick
	return i < 0 || !a.recent[i].Add(minute).After(a.rests)
}

// begin notes that it begins to measure.
func (a *agent) begin(now time.Time) {
	a.isBusy, a.began = true, now
	if len(a.recent) == PerMinute {
		a.recent = slices.Delete(a.recent, 0, 1)
	}
	a.recent = append(a.recent, now)
}

// compare compares what an agent has counted of a fault with what it had.
func (t *task) compare(status api.Status, err error, began, ended time.Time) verify.Judgement {
	if err != nil {
		return unanswered(err)
	}
	now, isHeld := t.Counted.Reading(status, began, ended)
	if !isHeld {
		t.before = nil
		return verify.Judgement{Outcome: verify.NotHeld}
	}
	j, before := t.Counted.Judge(t.before, now)
	t.before = before
	return j
}

// looksInARow is how many tasks in doubt are measured in a row before one of the others gets its
// turn.
const looksInARow = 2

// isBefore reports whether a task is to be done before another one: first those without a
// verdict, then those in doubt, which leave every third measurement to the others.
func (a *agent) isBefore(t, other *task) bool {
	rank := func(t *task) int {
		switch {
		case t.state.Verdict == verify.Pending:
			return 0
		case t.isInDoubt() == (a.looks < looksInARow):
			return 1
		default:
			return 2
		}
	}
	return cmp.Or(rank(t)-rank(other), t.began.Compare(other.began)) < 0
}

// patience is how long what is known of an agent's pairs stays so while it measures for
// somebody else each time that it is asked.
const patience = 10 * time.Minute

// hear takes a judgement. It turns Busy into Unable when an agent was busy for all of patience:
// what is known of its pairs is too old then. Counters can be read while an agent measures.
func (a *agent) hear(t *task, j verify.Judgement, now time.Time) verify.Judgement {
	switch {
	case t.IsCounted():
	case j.Outcome != verify.Busy:
		a.busy = time.Time{}
	case a.busy.IsZero():
		a.busy = now
	case now.Sub(a.busy) >= patience:
		j = verify.Judgement{Outcome: verify.Unable, Why: "its agent measures for somebody else each time that it is asked"}
	}
	return j
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
