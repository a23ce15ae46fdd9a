package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/safety"
	"github.com/tidelay/tidelay/pkg/plugin/object"
)

// measureTime is how long to wait for measurements of what is in force. An agent with as many
// pairs as it may have takes one and a half minutes for all of them.
const measureTime = 2 * time.Minute

// errInterrupted says that a person does not want to wait any more.
var errInterrupted = errors.New("interrupted")

// takeBack is why what was written has to be taken back. with adds what is there then.
type takeBack struct {
	error
	with func(so string) error
}

func (t *takeBack) Unwrap() error { return t.error }

// wait waits until objects are in force and measured, and tells how that goes. The error is a
// *takeBack if one was refused, or if ctx has ended.
func (a *app) wait(ctx context.Context, c client.Reader, objects []client.Object, asked *writing) error {
	timeout := time.NewTimer(asked.timeout)
	defer timeout.Stop()
	tick := time.NewTicker(a.Poll)
	defer tick.Stop()
	all := waitingFor(a, objects, asked)
	for {
		for _, w := range all.rest() {
			if w.isDone, w.failed = w.look(ctx, c); ctx.Err() != nil && !w.isDone {
				return &takeBack{errInterrupted, func(so string) error { return fmt.Errorf("%w: %s", errInterrupted, so) }}
			}
			if taken, is := errors.AsType[*takeBack](w.failed); is {
				return taken
			}
		}
		if len(all.rest()) == 0 {
			return all.failed()
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-timeout.C:
			for _, w := range all.rest() {
				w.failed = w.late(asked.timeout)
			}
			return all.failed()
		}
	}
}

// waits are waits for objects that are waited for together.
type waits []*waiting

func waitingFor(a *app, objects []client.Object, asked *writing) waits {
	var all waits
	for _, o := range objects {
		w := &waiting{app: a, object: o, asked: asked}
		if len(objects) > 1 {
			w.prefix = o.GetName() + ": "
		}
		all = append(all, w)
	}
	return all
}

// rest returns the waits that are not over.
func (all waits) rest() waits {
	return slices.DeleteFunc(slices.Clone(all), func(w *waiting) bool { return w.isDone || w.failed != nil })
}

// failed returns why waits have failed.
func (all waits) failed() error {
	var errs []error
	for _, w := range all {
		if w.failed != nil {
			errs = append(errs, fmt.Errorf("%s%w", w.prefix, w.failed))
		}
	}
	return errors.Join(errs...)
}

// waiting is a wait under way.
type waiting struct {
	*app
	object client.Object
	// prefix is what each line begins with.
	prefix string
	asked  *writing
	life   v1alpha1.Life
	// said is what was told last, so that nothing is told twice.
	said string
	// isApplied is whether it was in force when it was last looked at, and measured when to
	// wait no longer for measurements then.
	isApplied bool
	measured  time.Time
	// isDone is whether the wait is over, and failed why without success.
	isDone bool
	failed error
}

// say tells something of the object.
func (w *waiting) say(format string, args ...any) {
	w.app.say("%s%s", w.prefix, fmt.Sprintf(format, args...))
}

// look looks at the object once. It reports whether there is nothing more to wait for.
func (w *waiting) look(ctx context.Context, c client.Reader) (bool, error) {
	now := object.Empty(w.object)
	switch err := c.Get(ctx, client.ObjectKeyFromObject(w.object), now); {
	case apierrors.IsNotFound(err):
		return false, fmt.Errorf("%s %s was cleared by somebody else", object.Kind(w.object), w.object.GetName())
	case apierrors.IsForbidden(err):
		return false, fmt.Errorf("read %s %s, which stays as it is: %w", object.Kind(w.object), w.object.GetName(), err)
	case err != nil: // the API server may answer a moment later
		if ctx.Err() == nil { // else nobody waits for the answer
			w.progress("%s %s can't be read now: %v", object.Kind(w.object), w.object.GetName(), err)
		}
		return false, nil
	}
	if now.GetUID() != w.object.GetUID() || now.GetGeneration() > w.object.GetGeneration() {
		return false, fmt.Errorf("%s %s was changed by somebody else", object.Kind(now), now.GetName())
	}
	w.life = *object.Life(now)
	w.life.Message = w.asked.typed(w.life.Message)
	switch {
	case w.life.Phase == "" || w.life.ObservedGeneration < w.object.GetGeneration():
		w.progress("waiting for the controller")
		return false, nil
	case w.life.Phase == v1alpha1.Refused:
		life, broken := w.life, safety.Allowances(w.life.Message)
		w.progress("refused: %s: %s", life.Reason, life.Message)
		return false, &takeBack{refusal(life, broken, "it is being taken back"), func(so string) error { return refusal(life, broken, so) }}
	case w.life.Phase == v1alpha1.Ended:
		return false, fmt.Errorf("it has ended: %s: %s", w.life.Reason, w.life.Message)
	case !meta.IsStatusConditionTrue(w.life.Conditions, v1alpha1.Applied):
		w.isApplied = false
		w.progress("%s", w.pending())
		return false, nil
	}
	return w.verified()
}

// progress tells something that is new.
func (w *waiting) progress(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); text != w.said {
		w.said = text
		w.say("%s", text)
	}
}

// pending says what is waited for.
func (w *waiting) pending() string {
	text := string(w.life.Phase) + ", " + w.life.Reason
	if w.life.Applied != "" {
		text += ", in force at " + w.life.Applied + " pods"
	}
	if w.life.Message != "" {
		text += ": " + w.life.Message
	}
	return text
}

// verified looks at what was measured. Measurements are waited for, but not for ever: some
// faults have none.
func (w *waiting) verified() (bool, error) {
	if !w.isApplied {
		w.isApplied, w.measured = true, w.Now().Add(measureTime)
		w.progress("%s", w.Good(fmt.Sprintf("in force at %s pods: %s", w.life.Applied, w.life.What)))
	}
	c := meta.FindStatusCondition(w.life.Conditions, v1alpha1.Verified)
	switch {
	case c != nil && c.Status == metav1.ConditionTrue:
		w.say("%s", w.Good(fmt.Sprintf("measured as asked for at %s pods", w.life.Verified)))
		return true, w.pairs()
	case c != nil && c.Status == metav1.ConditionFalse:
		w.say("%s", w.Bad("measured, and not as asked for: "+c.Message))
		if err := w.pairs(); err != nil {
			return false, err
		}
		return false, fmt.Errorf("in force, and %s of the pods are measured as asked for", w.life.Verified)
	case w.Now().Before(w.measured):
		w.progress("measuring")
		return false, nil
	case c != nil:
		w.say("not measured: %s", c.Message)
		return true, nil
	default:
		w.say("not measured")
		return true, nil
	}
}

// pairs writes what was asked for and what was measured.
func (w *waiting) pairs() error {
	if len(w.life.Pairs) == 0 {
		return nil
	}
	t := printers.GetNewTabWriter(w.Out)
	_, _ = fmt.Fprintln(t, "FROM\tTO\tBEFORE\tASKED\tMEASURED\tVERDICT")
	for _, p := range w.life.Pairs {
		before := p.Before
		if before == "" {
			before = "-"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", p.From, p.To, before, p.Asked, p.Measured, p.Verdict)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write pairs: %w", err)
	}
	return nil
}

// late is the error that it took too long.
func (w *waiting) late(longest time.Duration) error {
	stays := fmt.Sprintf("%s %s stays as it is", object.Kind(w.object), w.object.GetName())
	switch {
	case w.isApplied:
		w.say("not measured after %s", longest)
		return nil
	case w.life.ObservedGeneration < w.object.GetGeneration() || w.life.Phase == "":
		return fmt.Errorf("the controller has not looked at it for %s: does it run? %s", longest, stays)
	default:
		return fmt.Errorf("not in force after %s (%s); %s", longest, w.pending(), stays)
	}
}
