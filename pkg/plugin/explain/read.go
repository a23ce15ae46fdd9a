package explain

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
)

// walk resolves pods as the injector does, and notes the owners of the pod that was resolved
// last.
type walk struct {
	*resolve.Resolver
	owners []Owner
}

// Resolve returns the membership of a pod.
func (w *walk) Resolve(ctx context.Context, namespace string, pod *corev1.Pod) (tidbcluster.Membership, error) {
	w.owners = nil
	return w.Walk(ctx, namespace, pod, func(hop resolve.Hop) {
		owner := Owner{
			APIVersion: hop.Owner.APIVersion, Kind: hop.Owner.Kind, Name: hop.Owner.Name, UID: hop.Owner.UID,
			FoundUID: hop.UID, Finding: hop.Finding,
		}
		if hop.Err != nil {
			owner.Error = hop.Err.Error()
		}
		w.owners = append(w.owners, owner)
	})
}

// uncached is a cache that has nothing, so that everything is read from the API server.
type uncached struct{ client.Reader }

var errUncached = errors.New("nothing is cached")

// Get finds nothing.
func (uncached) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errUncached
}

// within lists what is in one namespace.
type within struct {
	client.Reader
	namespace string
}

// List lists what is in the namespace.
func (w within) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return w.Reader.List(ctx, list, append(opts, client.InNamespace(w.namespace))...)
}
