// Package confirm reads Kubernetes objects from an informer's cache, and asks
// the API server once where the cache cannot be believed.
//
// An informer trails the API server by milliseconds, and a pod can reach its
// admission before the informer has heard of the object that made it. So what
// is missing from the cache may exist, and what is in it may have been
// replaced. The caller says which answers it would act on; every other one is
// confirmed by a live read.
package confirm

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// liveTimeout bounds one live read. It belongs to no single caller: those who
// wait for it bring their own, usually shorter, deadlines.
const liveTimeout = 5 * time.Second

// Reader reads from a cache first and from the API server when it must.
// It is safe for concurrent use.
type Reader struct {
	cached, live client.Reader
	flights      singleflight.Group
	reads        *prometheus.CounterVec
}

// NewReader returns a Reader of cached, confirming with live, and registers
// its counter, tidelay_live_reads_total, with metrics.
func NewReader(cached, live client.Reader, metrics prometheus.Registerer) (*Reader, error) {
	reads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidelay_live_reads_total",
		Help: "Reads from the API server that the informers' caches could not answer.",
	}, []string{"kind", "result"})
	if err := metrics.Register(reads); err != nil {
		return nil, fmt.Errorf("register tidelay_live_reads_total: %w", err)
	}
	return &Reader{cached: cached, live: live, reads: reads}, nil
}

// Read returns the object called key. A cached one is returned if believe
// accepts it; otherwise, and when the cache has none or cannot answer, the
// object is read live and returned whatever believe thinks of it. empty is an
// object of the wanted type with its apiVersion and kind set; it is not
// changed. The object returned is shared and must not be changed either.
//
// The error is the API server's, or ctx's when that ends first; see IsAbsent.
func Read[T client.Object](ctx context.Context, r *Reader, empty T, key client.ObjectKey, believe func(T) bool) (T, error) {
	object := fresh(empty)
	// Whatever keeps the cache from answering, the API server can answer
	// instead: no such object, no informer for the kind, not started yet.
	if err := r.cached.Get(ctx, key, object); err == nil && believe(object) {
		return object, nil
	}
	return readLive(ctx, r, empty, key, believe)
}

// readLive reads from the API server, sharing the read with those who want the
// same object at the same time.
func readLive[T client.Object](ctx context.Context, r *Reader, empty T, key client.ObjectKey, believe func(T) bool) (T, error) {
	var none T
	kind := empty.GetObjectKind().GroupVersionKind()
	for first := true; ; first = false {
		own := false
		flight := r.flights.DoChan(kind.String()+"/"+key.String(), func() (any, error) {
			own = true
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), liveTimeout)
			defer cancel()
			object := fresh(empty)
			err := r.live.Get(ctx, key, object)
			r.reads.WithLabelValues(kind.Kind, result(err)).Inc()
			return object, err
		})
		select {
		case <-ctx.Done():
			return none, ctx.Err()
		case answer := <-flight:
			object, _ := answer.Val.(T)
			// A read that somebody else had begun may be older than the object
			// we look for. The next one is not, whoever begins it.
			if first && !own && (answer.Err != nil || !believe(object)) {
				continue
			}
			if answer.Err != nil {
				return none, answer.Err
			}
			return object, nil
		}
	}
}

// IsAbsent reports whether err, from Read, means that there is no such object,
// be it for want of its kind.
func IsAbsent(err error) bool {
	return apierrors.IsNotFound(err) || meta.IsNoMatchError(err)
}

func fresh[T client.Object](empty T) T {
	return empty.DeepCopyObject().(T)
}

func result(err error) string {
	switch {
	case err == nil:
		return "found"
	case IsAbsent(err):
		return "not_found"
	default:
		return "error"
	}
}
