package webhook

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/tidelay/tidelay/pkg/confirm"
)

// enforceLabel is the label by which a namespace enforces a Pod Security level.
const enforceLabel = "pod-security.kubernetes.io/enforce"

// Namespaces reads the Pod Security level of namespaces.
type Namespaces struct {
	reader *confirm.Reader
}

// NewNamespaces returns Namespaces read from reader.
func NewNamespaces(reader *confirm.Reader) *Namespaces {
	return &Namespaces{reader: reader}
}

// EnforcedLevel returns the level a namespace enforces, "" if it says none. A
// level that would keep the agent out is confirmed by a live read. A level that
// the API server's own configuration sets for all namespaces is not seen here.
func (n *Namespaces) EnforcedLevel(ctx context.Context, name string) (string, error) {
	labels, err := n.read(ctx, name, func(o *metav1.PartialObjectMetadata) bool { return !forbidsNetAdmin(o.Labels[enforceLabel]) })
	return labels[enforceLabel], err
}

// Labels returns the labels of a namespace, as the cache knows them.
func (n *Namespaces) Labels(ctx context.Context, name string) (map[string]string, error) {
	return n.read(ctx, name, func(*metav1.PartialObjectMetadata) bool { return true })
}

func (n *Namespaces) read(ctx context.Context, name string, believe func(*metav1.PartialObjectMetadata) bool) (map[string]string, error) {
	namespace, err := confirm.Read(ctx, n.reader, confirm.Wanted[*metav1.PartialObjectMetadata]{
		Empty: emptyNamespace(), Key: types.NamespacedName{Name: name}, Trim: trimNamespace, Believe: believe,
	})
	if err != nil {
		return nil, fmt.Errorf("read namespace %s: %w", name, err)
	}
	return namespace.Labels, nil
}

// Kinds lists what Namespaces reads, to be kept in its Reader's cache.
func Kinds() []confirm.Kind {
	return []confirm.Kind{{Object: emptyNamespace(), Cache: &cache.ByObject{Transform: trimNamespace}}}
}

func emptyNamespace() *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return object
}

// trimNamespace keeps the labels.
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
