package gather

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/injection"
)

// Namespaces reads labels of namespaces.
type Namespaces struct {
	reader *confirm.Reader
}

// NewNamespaces returns Namespaces that reads from reader.
func NewNamespaces(reader *confirm.Reader) *Namespaces {
	return &Namespaces{reader: reader}
}

// EnforcedLevel returns the Pod Security level that a namespace enforces, or "" if
// its labels set none. A level that keeps the agent out is confirmed by a live
// read. A level that the API server's own configuration sets for all namespaces is
// not seen.
func (n *Namespaces) EnforcedLevel(ctx context.Context, name string) (string, error) {
	labels, err := n.labels(ctx, name, func(o *metav1.PartialObjectMetadata) bool {
		return !injection.ForbidsNetAdmin(o.Labels[injection.EnforceLabel])
	})
	return labels[injection.EnforceLabel], err
}

// Labels returns the labels of a namespace, as the cache has them.
func (n *Namespaces) Labels(ctx context.Context, name string) (map[string]string, error) {
	return n.labels(ctx, name, nil)
}

func (n *Namespaces) labels(ctx context.Context, name string, accept func(*metav1.PartialObjectMetadata) bool) (map[string]string, error) {
	namespace, err := confirm.Read(ctx, n.reader, confirm.Query[*metav1.PartialObjectMetadata]{
		Empty: emptyNamespace(), Key: types.NamespacedName{Name: name}, Trim: trimNamespace, Accept: accept,
	})
	if err != nil {
		return nil, fmt.Errorf("read namespace %s: %w", name, err)
	}
	return namespace.Labels, nil
}

// Kinds lists the kinds that Namespaces reads, for its Reader's cache.
func Kinds() []confirm.Kind {
	return []confirm.Kind{{Object: emptyNamespace(), Cache: &cache.ByObject{Transform: trimNamespace}}}
}

func emptyNamespace() *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return object
}

// trimNamespace drops everything but the labels.
func trimNamespace(object any) (any, error) {
	if full, ok := object.(*metav1.PartialObjectMetadata); ok {
		full.ObjectMeta = metav1.ObjectMeta{
			Name:            full.Name,
			UID:             full.UID,
			ResourceVersion: full.ResourceVersion,
			Labels:          full.Labels,
		}
	}
	return object, nil
}
