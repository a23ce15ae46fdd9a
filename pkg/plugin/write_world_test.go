package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

func (w *world) create(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
	if err := w.mayWrite("create", o); err != nil {
		return err
	}
	if happens := w.meanwhile; happens != nil {
		w.meanwhile = nil
		happens()
	}
	if w.creating != nil {
		if err := w.creating(o); err != nil {
			return err
		}
	}
	options := (&client.CreateOptions{}).ApplyOptions(opts)
	if there := o.DeepCopyObject().(client.Object); len(options.DryRun) > 0 && c.Get(ctx, client.ObjectKeyFromObject(o), there) == nil {
		return apierrors.NewAlreadyExists(w.resourceOf(o), o.GetName())
	}
	return c.Create(ctx, o, opts...)
}

func (w *world) patch(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
	if err := w.mayWrite("patch", o); err != nil {
		return err
	}
	if happens := w.meanwhile; happens != nil {
		w.meanwhile = nil
		happens()
	}
	return c.Patch(ctx, o, p, opts...)
}

func (w *world) delete(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
	if err := w.mayWrite("delete", o); err != nil {
		return err
	}
	return c.Delete(ctx, o, opts...)
}

// mayWrite returns an error in RBAC's words if an object may not be written so.
func (w *world) mayWrite(verb string, o client.Object) error {
	if !w.forbidden[verb+"/"+w.kindOf(o)] {
		return nil
	}
	resource := w.resourceOf(o)
	return apierrors.NewForbidden(resource, o.GetName(), fmt.Errorf("%s cannot %s resource %q in API group %q in the namespace %q", `User "me"`, verb, resource.Resource, resource.Group, o.GetNamespace()))
}

// resourceOf returns what the API server calls the kind of one of Tidelay's objects.
func (w *world) resourceOf(o client.Object) schema.GroupResource {
	resource, _ := meta.UnsafeGuessKindToResource(v1alpha1.GroupVersion().WithKind(w.kindOf(o)))
	return resource.GroupResource()
}

// obeyRefuseCreate has the API server refuse to create objects, in some words; for none no more.
func (w *world) obeyRefuseCreate(_ *testing.T, d *datadriven.TestData) {
	w.creating = nil
	if words := strings.TrimSpace(d.Input); words != "" {
		w.creating = func(o client.Object) error {
			return apierrors.NewForbidden(w.resourceOf(o), o.GetName(), errors.New(words))
		}
	}
}
