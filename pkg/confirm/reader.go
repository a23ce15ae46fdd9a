// Package confirm reads Kubernetes objects from an informer's cache, and reads
// from the API server what the cache can't prove.
//
// An informer trails the API server by milliseconds, and a pod can reach its
// admission before the informer has heard of the object that made it. So an
// object that is missing from the cache may exist, and one that is in the cache
// may have been replaced. The caller says which cached objects it accepts. Every
// other answer is confirmed by one read from the API server, a live read.
package confirm

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	expiring "k8s.io/apimachinery/pkg/util/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Reader reads from a cache first, and from the API server where the cache is
// not enough. It is safe for concurrent use.
type Reader struct {
	cached, live client.Reader
	// flights are the live reads under way.
	flights singleflight.Group
	limit   *rate.Limiter
	// refusals are the answers of live reads that are repeated for a moment.
	refusals *expiring.LRUExpireCache
	reads    *prometheus.CounterVec
}

// NewReader returns a Reader that reads from cached, and from live no more often
// than limit allows. It registers the counter tidelay_live_reads_total with
// metrics, and fails if that is registered already.
func NewReader(cached, live client.Reader, limit *rate.Limiter, metrics prometheus.Registerer) (*Reader, error) {
	reads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidelay_live_reads_total",
		Help: "Reads from the API server that the informers' caches could not answer.",
	}, []string{"kind", "result"})
	if err := metrics.Register(reads); err != nil {
		return nil, fmt.Errorf("register tidelay_live_reads_total: %w", err)
	}
	return &Reader{cached: cached, live: live, limit: limit, refusals: expiring.NewLRUExpireCache(maxRefusals), reads: reads}, nil
}

// Query names the object to read, and says which answers of the cache are
// enough.
type Query[T client.Object] struct {
	// Empty is an object of the type, with its apiVersion and kind set. Read
	// copies it and never changes it.
	Empty T
	// Key is the object's name, and its namespace where it has one.
	Key client.ObjectKey
	// UID is the object's UID. If it is empty, any object of that name is meant.
	UID types.UID
	// Accept reports whether a cached object with that UID is accepted without a
	// live read. If it is nil, every such object is.
	Accept func(T) bool
	// Trim drops from an object read live what the cache's own transformation
	// drops. If it is nil, nothing is dropped.
	Trim func(any) (any, error)
}

// accepts reports whether object has the UID that q names and is accepted.
func (q Query[T]) accepts(object T) bool {
	return q.matches(object) && (q.Accept == nil || q.Accept(object))
}

// matches reports whether object has the UID that q names.
func (q Query[T]) matches(object T) bool {
	return q.UID == "" || object.GetUID() == q.UID
}

func (q Query[T]) kind() schema.GroupVersionKind {
	return q.Empty.GetObjectKind().GroupVersionKind()
}

// newObject returns an empty object of the kind, for a client to fill.
func (q Query[T]) newObject() T {
	return q.Empty.DeepCopyObject().(T)
}

// Read returns the object that q names, from the first of these that can answer:
//
//  1. the cache, if it has an object that q accepts;
//  2. a "no" of the last live read, if that was a moment ago;
//  3. a live read. Its object is returned whatever its UID and whether or not q
//     accepts it, so the caller must check both.
//
// The object is shared with other callers and must not be changed. The error is
// the API server's, or ctx's if ctx ends first. IsAbsent tells an error that
// means that there is no such object.
func Read[T client.Object](ctx context.Context, r *Reader, q Query[T]) (T, error) {
	// The reason why the cache can't answer does not matter: no such object, no
	// informer for the kind, an informer that is not started. The API server can
	// answer in each case.
	object := q.newObject()
	if err := r.cached.Get(ctx, q.Key, object); err == nil && q.accepts(object) {
		return object, nil
	}
	if refusal, ok := recall(r, q); ok {
		return refusal.object, refusal.err
	}
	object, err := readLive(ctx, r, q)
	remember(r, q, answer[T]{object, err})
	return object, err
}

// IsAbsent reports whether err, from Read, means that the object does not exist,
// or that its kind does not.
func IsAbsent(err error) bool {
	return apierrors.IsNotFound(err) || meta.IsNoMatchError(err)
}
