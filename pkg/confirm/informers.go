package confirm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// retryInterval is how often Informers try again to watch a kind whose CRD is
// not installed, or while the API server does not answer.
const retryInterval = 2 * time.Second

// Kind is a kind of object to keep in the cache.
type Kind struct {
	// Object is an empty object of the kind, with its apiVersion and kind set.
	Object client.Object
	// Cache says which objects to keep, and which of their fields. It must be
	// nil for a CRD: a cache with options for a kind that is not installed
	// cannot be made. The cache's default options apply to it.
	Cache *cache.ByObject
	// Optional is whether to do without an informer if the API server does not
	// have the kind when the informers start.
	Optional bool
}

// ByObject configures a cache for those of kinds that can be.
func ByObject(kinds []Kind) map[client.Object]cache.ByObject {
	options := map[client.Object]cache.ByObject{}
	for _, k := range kinds {
		if k.Cache != nil {
			options[k.Object] = *k.Cache
		}
	}
	return options
}

// Informers keep kinds in a cache. Run them with the manager the cache belongs
// to.
type Informers struct {
	cache cache.Cache
	kinds []Kind

	mu      sync.Mutex
	started []informer
	missing error
}

type informer struct {
	cache.Informer
	kind string
}

// NewInformers returns Informers that keep kinds in c, which ByObject
// configured.
func NewInformers(c cache.Cache, kinds []Kind) *Informers {
	return &Informers{cache: c, kinds: kinds, missing: errors.New("informers are not started")}
}

// Start starts an informer for every kind and returns when all are started or
// ctx ends. It waits for a kind the API server does not have, so that its CRD
// can be installed before or after, unless the kind is optional.
func (i *Informers) Start(ctx context.Context) error {
	log := logf.FromContext(ctx)
	pending, logged := i.kinds, ""
	// It ends in an error only if ctx does, which is no failure.
	_ = wait.PollUntilContextCancel(ctx, retryInterval, true, func(ctx context.Context) (bool, error) {
		var err error
		pending, err = i.watch(ctx, pending)
		if err != nil && err.Error() != logged {
			logged = err.Error()
			log.Info("waiting for what is to be watched", "missing", logged)
		}
		return err == nil, nil
	})
	return nil
}

// NeedLeaderElection is false: every replica answers from its own cache.
func (i *Informers) NeedLeaderElection() bool { return false }

// Synced returns nil once every informer has its first full list, and otherwise
// an error that says what is missing.
func (i *Informers) Synced() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, informer := range i.started {
		if !informer.HasSynced() {
			return fmt.Errorf("informer of %s has not synced", informer.kind)
		}
	}
	return i.missing
}

// watch starts an informer for each of kinds and returns those it could not
// start, with the reasons.
func (i *Informers) watch(ctx context.Context, kinds []Kind) ([]Kind, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	var pending []Kind
	var problems []error
	for _, k := range kinds {
		name := k.Object.GetObjectKind().GroupVersionKind().GroupKind().String()
		started, err := i.cache.GetInformer(ctx, k.Object, cache.BlockUntilSynced(false))
		switch {
		case err == nil:
			i.started = append(i.started, informer{Informer: started, kind: name})
		case k.Optional && meta.IsNoMatchError(err):
		default:
			pending = append(pending, k)
			problems = append(problems, fmt.Errorf("watch %s: %w", name, err))
		}
	}
	i.missing = errors.Join(problems...)
	return pending, i.missing
}
