package surveyor

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

// agent is what is known of an agent. The Surveyor's mutex guards it.
type agent struct {
	cluster types.NamespacedName
	target  Target
	tasks   []*task
	// isBusy is whether it measures.
	isBusy bool
	// began is when its last measurement did; rests is until when none may.
	began, rests time.Time
	// heard is when it last did anything but measure for somebody else, or was new.
	heard time.Time
	// isSecond is whether the last one was another look at a pair with a verdict.
	isSecond bool
}

// task is one of its tasks, and what is known of it.
type task struct {
	verify.Task
	state verify.State
	began time.Time // the last measurement; zero for none
	// isGone is whether nobody wants to know any more.
	isGone bool
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

// next returns the task to measure next, and when; nil for none. It takes turns of an
// interval where there is a verdict on each.
func (a *agent) next(interval time.Duration) (*task, time.Time) {
	var first *task
	for _, t := range a.tasks {
		if t.Waits {
			continue
		}
		if first == nil || a.isBefore(t, first) {
			first = t
		}
	}
	if first == nil || first.state.IsOpen() || a.isSecond {
		return first, a.rests
	}
	return first, latest(a.rests, a.began.Add(interval))
}

// isBefore reports whether a task is to be measured before another one: first those without
// a verdict, then those that the last measurement contradicts. Of these there may always be
// one, so they take turns with the others.
func (a *agent) isBefore(t, other *task) bool {
	rank := func(t *task) int {
		switch {
		case t.state.Verdict == verify.Pending:
			return 0
		case t.state.IsOpen() != a.isSecond:
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

// hear takes a judgement. After patience there is none of an agent that is busy: nothing that
// is known of its pairs is of late.
func (a *agent) hear(j verify.Judgement, now time.Time) verify.Judgement {
	if j.Outcome != verify.Busy {
		a.heard = now
	} else if now.Sub(a.heard) >= patience {
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
