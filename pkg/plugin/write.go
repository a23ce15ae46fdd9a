package plugin

import (
	"context"
	"fmt"
	"io"
	"time"

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
type writer struct{ client.Client }

// write carries out a step, and returns what is there then.
func (w writer) write(ctx context.Context, step object.Step) (client.Object, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	after := step.After.DeepCopyObject().(client.Object)
	of := fmt.Sprintf("%s %s", object.Kind(after), after.GetName())
	switch step.Action {
	case object.Change:
		if err := w.Patch(ctx, after, client.MergeFrom(step.Before)); err != nil {
			return nil, fmt.Errorf("change %s: %w", of, err)
		}
	case object.Replace:
		if err := w.delete(ctx, step.Before); err != nil {
			return nil, err
		}
		fallthrough
	default:
		if err := w.Create(ctx, after); err != nil {
			return nil, fmt.Errorf("create %s: %w", of, err)
		}
	}
	after.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion().WithKind(object.Kind(after)))
	return after, nil
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

// undo takes back a step, and says what is there then.
func (w writer) undo(ctx context.Context, step object.Step, written client.Object) (string, error) {
	if step.Action != object.Change {
		return "it was cleared", w.delete(ctx, written)
	}
	back := object.Step{Action: object.Change, Before: written, After: object.WithSpec(written, step.Before)}
	if _, err := w.write(ctx, back); err != nil {
		return "", err
	}
	return "it is again what it was before", nil
}

// printObject prints an object as yaml, json or name; nothing for "".
func printObject(out io.Writer, o client.Object, format string) error {
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
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return fmt.Errorf("print %s: %w", o.GetName(), err)
	}
	if object.Life(o).Phase == "" {
		delete(content, "status")
	}
	unstructured.RemoveNestedField(content, "metadata", "managedFields")
	if o.GetCreationTimestamp().Time.IsZero() {
		unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
	}
	if err := printer.PrintObj(&unstructured.Unstructured{Object: content}, out); err != nil {
		return fmt.Errorf("print %s: %w", o.GetName(), err)
	}
	return nil
}
