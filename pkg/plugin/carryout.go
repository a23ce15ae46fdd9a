package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/object"
)

// written is a step that was carried out.
type written struct {
	object.Step
	// now is what is there since.
	now client.Object
}

// carryOut carries out steps, all or none of them, and waits if that is asked for. out gets the
// objects.
func (a *app) carryOut(ctx context.Context, c writer, seen *look.Cluster, steps []object.Step, w *writing, out io.Writer) error {
	// Read first, so that what is written is told at once.
	clusters := append(look.Names(ctx, c, seen.Key.Namespace), seen.Key.Name)
	var done []written
	var objects []client.Object
	for _, step := range steps {
		now, err := c.write(ctx, step)
		if err != nil {
			return c.giveUp(ctx, done, err)
		}
		done, objects = append(done, written{step, now}), append(objects, now)
	}
	there := choice{slices.Concat(seen.InNamespace(), objects), clusters}
	for _, one := range done {
		a.tellWritten(one, there)
	}
	if err := printObjects(out, objects, w.output); err != nil {
		return err
	}
	if !w.wait {
		return nil
	}
	err := a.wait(ctx, c, objects, w)
	taken, is := errors.AsType[*takeBack](err)
	if !is {
		return err
	}
	so, undoErr := c.undo(ctx, done)
	if undoErr != nil {
		return fmt.Errorf("%w: %w", taken.with("it can't be taken back"), undoErr)
	}
	return taken.with(so)
}

// tellWritten says what was written, and how it ends. there is all that can be cleared.
func (a *app) tellWritten(one written, there choice) {
	name := "networkfault"
	if object.Kind(one.now) == object.Topology {
		name = "networktopology"
	}
	ends := "it lasts until"
	if end := object.End(one.now); end != "" {
		ends = "it ends " + end + ", sooner by"
	}
	a.say("%s.tidelay.io/%s %s; %s: kubectl tidelay clear -n %s %s", name, one.now.GetName(), one.did(), ends,
		one.now.GetNamespace(), clearName(one.now, there))
}

// clearName returns what clears an object: its name, or that of the shape that it is a part of,
// with its kind where the name means more than one.
func clearName(o client.Object, there choice) string {
	kind, name := prefixOf(object.Kind(o)), o.GetName()
	if shape := object.ShapeOf(o); shape != "" {
		kind, name = prefixShape, shape
	}
	if len(meanings(there.objects, there.clusters, name)) > 1 {
		return kind + "/" + name
	}
	return name
}

// did says what was done in a step.
func (w *written) did() string {
	switch {
	case w.Action == object.Create:
		return "created"
	case w.Action == object.Replace:
		return "created again"
	case object.IsSame(w.Before, w.After):
		return "unchanged"
	default:
		return "changed in place"
	}
}

// giveUp takes back the steps before one that failed, and adds that to its error.
func (w writer) giveUp(ctx context.Context, done []written, failed error) error {
	if len(done) == 0 {
		return failed
	}
	if _, err := w.undo(ctx, done); err != nil {
		return fmt.Errorf("%w; and what was written before can't be taken back: %w", failed, err)
	}
	return fmt.Errorf("%w; what was written before was taken back", failed)
}

// undo takes back steps, the last one first, and says what is there then. It tries all of them.
func (w writer) undo(ctx context.Context, done []written) (string, error) {
	var cleared, changed int
	var failed []error
	for _, one := range slices.Backward(done) {
		var err error
		if one.Action == object.Change {
			_, err = w.write(ctx, object.Step{Action: object.Change, Before: one.now, After: object.WithSpec(one.now, one.Before)})
			changed++
		} else {
			err = w.delete(ctx, one.now)
			cleared++
		}
		failed = append(failed, err)
	}
	return undone(cleared, changed), errors.Join(failed...)
}

// undone says what became of so many objects.
func undone(cleared, changed int) string {
	switch {
	case cleared == 1 && changed == 0:
		return "it was cleared"
	case cleared == 0 && changed == 1:
		return "it is again what it was before"
	case changed == 0:
		return fmt.Sprintf("all %d were cleared", cleared)
	case cleared == 0:
		return fmt.Sprintf("all %d are again what they were before", changed)
	default:
		return fmt.Sprintf("cleared: %d, again what they were before: %d", cleared, changed)
	}
}
