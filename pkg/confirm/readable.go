package confirm

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Readable returns an error with every kind that the API server does not let live list
// now. A cache that may no longer watch a kind says nothing: it goes on with what it
// last knew. Each kind costs one read of one object's metadata at most.
func Readable(ctx context.Context, live client.Reader, kinds []Kind) error {
	var problems []error
	for _, k := range kinds {
		gvk := k.Object.GetObjectKind().GroupVersionKind()
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
		if err := live.List(ctx, list, client.Limit(1)); err != nil && (!k.Optional || !meta.IsNoMatchError(err)) {
			problems = append(problems, fmt.Errorf("list %s: %w", gvk.GroupKind(), err))
		}
	}
	return errors.Join(problems...)
}
