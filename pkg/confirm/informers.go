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

// retryInterval is the time between two attempts to watch a kind whose CRD is not
// installed, or to reach an API server that does not answer.
const retryInterval = 2 * time.Second

// Kind is a kind of object to keep in the cache.
type Kind struct {
	// Object is an empty object of the kind, with its apiVersion and kind set.
	Object client.Object
	// Cache says which objects to keep, and which of their fields. It must be nil
	// for a CRD, to which the cache's default options apply: a cache with options
	// for a kind that is not installed can't be made.
	Cache *cache.ByObject
	// Indexes are functions that return the values of an object by which the cache
	// finds it (client.MatchingFields), by their names.
	Indexes map[string]client.IndexerFunc
	// Optional is whether the kind may be missing. If the API server does not have
	// it when the informers start, it gets no informer.
	Optional bool
}

// ByObject returns the cache's options for those kinds that have any.
func ByObject(kinds []Kind) map[client.Object]cache.ByObject {
	options := map[client.Object]cache.ByObject{}
	for _, k := range kinds {
		if k.Cache != nil {
			options[k.Object] = *k.Cache
		}
	}
	return options
}

// Informers keep kinds in a cache. Run them with the manager that the cache belongs to.
type Informers struct {
	cache cache.Cache
	kinds []Kind

	mu      sync.Mutex
	started []informer
	indexed map[string]bool // by kind and index
	missing error
}

type informer struct {
	cache.Informer
	kind string
}

// NewInformers returns Informers that keep kinds in c. The options of c must be those
// that ByObject returns.
func NewInformers(c cache.Cache, kinds []Kind) *Informers {
	return &Informers{cache: c, kinds: kinds, indexed: map[string]bool{}, missing: errors.New("informers are not started")}
}

// Start starts an informer for every kind, and returns when all are started or ctx
// ends. If the API server does not have a kind that is not optional, Start waits for
// it, so that its CRD may be installed later.
func (i *Informers) Start(ctx context.Context) error {
	log := logf.FromContext(ctx)
	pending, logged := i.kinds, ""
	// The only error is ctx's, which is no failure.
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

// NeedLeaderElection is false, because every replica reads from its own cache.
func (i *Informers) NeedLeaderElection() bool { return false }

// Synced returns nil when every informer has its first full list. Otherwise the error
// says what is missing.
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
		err := i.index(ctx, name, k)
		var started cache.Informer
		if err == nil {
			started, err = i.cache.GetInformer(ctx, k.Object, cache.BlockUntilSynced(false))
		}
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

// index adds the indexes of a kind, each once.
func (i *Informers) index(ctx context.Context, name string, k Kind) error {
	for field, values := range k.Indexes {
		key := name + " " + field
		if i.indexed[key] {
			continue
		}
		if err := i.cache.IndexField(ctx, k.Object, field, values); err != nil {
			return fmt.Errorf("index by %s: %w", field, err)
		}
		i.indexed[key] = true
	}
	return nil
}
