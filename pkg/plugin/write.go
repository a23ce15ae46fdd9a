package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/plugin/object"
)

// writeTime is how long it may take to write, and to take that back.
const writeTime = 30 * time.Second

// writer writes objects. A write that has begun is not interrupted, so that it is known what
// to take back.
type writer struct {
	client.Client
	// hidden are the kinds that could not be listed, so that the names in use are not known.
	hidden []string
}

// write carries out a step, and returns what is there then.
func (w writer) write(ctx context.Context, step object.Step) (client.Object, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	after := step.After.DeepCopyObject().(client.Object)
	var err error
	switch step.Action {
	case object.Change:
		if after, err = w.change(ctx, step.Before, after); err != nil {
			err = fmt.Errorf("change %s %s: %w", object.Kind(step.After), step.After.GetName(), unsure(err))
		}
	case object.Replace:
		err = w.replace(ctx, step.Before, after)
	default:
		err = w.create(ctx, after)
	}
	if err != nil {
		return nil, err
	}
	after.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion().WithKind(object.Kind(after)))
	return after, nil
}

// create creates an object.
func (w writer) create(ctx context.Context, o client.Object) error {
	err := w.Create(ctx, o)
	if apierrors.IsAlreadyExists(err) {
		err = errCreated
		if kind := object.Plural(o); slices.Contains(w.hidden, kind) {
			err = fmt.Errorf("there is one of that name already, and you may not read %s: this takes another name, or somebody who may", kind)
		}
	}
	if err != nil {
		return fmt.Errorf("create %s %s: %w", object.Kind(o), o.GetName(), unsure(err))
	}
	return nil
}

// replace deletes an object, and creates it as another one.
func (w writer) replace(ctx context.Context, before, after client.Object) error {
	if err := w.delete(ctx, before); err != nil {
		return err
	}
	if err := w.create(ctx, after); err != nil {
		return fmt.Errorf("%w; the one that was there, which was not in force, is deleted", err)
	}
	return nil
}

// try has the API server judge a step, which changes nothing.
func (w writer) try(ctx context.Context, step object.Step) error {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	w.Client = client.NewDryRunClient(w.Client)
	if step.Action != object.Replace {
		_, err := w.write(ctx, step)
		return err
	}
	if err := w.delete(ctx, step.Before); err != nil {
		return err
	}
	// It is still there, which the API server says after it has judged all else.
	if err := w.create(ctx, step.After.DeepCopyObject().(client.Object)); !errors.Is(err, errCreated) {
		return err
	}
	return nil
}

// rightLacked finds which verb it is that somebody has no right to.
var rightLacked = regexp.MustCompile(`cannot ([a-z]+) resource`)

// lacked returns the verb that somebody has no right to; "" for every other error. What is beyond
// a quota, or for a namespace that is ending, is forbidden too, and no right helps.
func lacked(err error) string {
	if !apierrors.IsForbidden(err) {
		return ""
	}
	if found := rightLacked.FindStringSubmatch(err.Error()); found != nil {
		return found[1]
	}
	return ""
}

// Somebody else was faster: an object is another one than what was looked at, or is there
// where none was.
var (
	errChanged = errors.New("somebody else has changed it meanwhile: look at it, and try again")
	errCreated = errors.New("somebody else has created it meanwhile: look at it, and try again")
)

// changeTries is how often a change is tried while the controller writes the status.
const changeTries = 5

// change changes the spec of an object, if it is what it was when it was looked at, and returns
// it as it is then. A status that the controller has written meanwhile does not matter.
func (w writer) change(ctx context.Context, before, after client.Object) (client.Object, error) {
	var err error
	for range changeTries {
		err = w.Patch(ctx, after, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		if !apierrors.IsConflict(err) {
			return after, err
		}
		now := object.Empty(before)
		if err := w.Get(ctx, client.ObjectKeyFromObject(before), now); err != nil {
			return nil, err
		}
		if now.GetUID() != before.GetUID() || now.GetGeneration() != before.GetGeneration() {
			return nil, errChanged
		}
		before, after = now, object.WithSpec(now, after)
	}
	return nil, err
}

// unsure adds to an error that what was written may be there all the same.
func unsure(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) {
		return fmt.Errorf("%w; it may be there all the same: kubectl tidelay status shows it, and clear ends it", err)
	}
	return err
}

// delete deletes an object, and no other one of its name. One that is gone is fine.
func (w writer) delete(ctx context.Context, o client.Object) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	uid := o.GetUID()
	if err := w.Delete(ctx, o, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete %s %s: %w", object.Kind(o), o.GetName(), err)
	}
	return nil
}

// printObjects prints objects as yaml, json or name; nothing for "".
func printObjects(out io.Writer, objects []client.Object, format string) error {
	var printer printers.ResourcePrinter
	switch format {
	case "yaml":
		printer = &printers.YAMLPrinter{}
	case "json":
		printer = &printers.JSONPrinter{}
	case "name":
		printer = &printers.NamePrinter{ShortOutput: true}
	default:
		return nil
	}
	for _, o := range objects {
		content, err := contentOf(o)
		if err != nil {
			return fmt.Errorf("print %s: %w", o.GetName(), err)
		}
		if err := printer.PrintObj(content, out); err != nil {
			return fmt.Errorf("print %s: %w", o.GetName(), err)
		}
	}
	return nil
}

// contentOf returns what is to be printed of an object: what people write, and its status if it
// has one.
func contentOf(o client.Object) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, err
	}
	if object.Life(o).Phase == "" {
		delete(content, "status")
	}
	unstructured.RemoveNestedField(content, "metadata", "managedFields")
	if o.GetCreationTimestamp().Time.IsZero() {
		unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
	}
	return &unstructured.Unstructured{Object: content}, nil
}
