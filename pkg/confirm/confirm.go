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
	"reflect"
	"time"

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

// liveTimeout bounds one live read. It belongs to no single caller: those who
// wait for it bring their own, usually shorter, deadlines.
const liveTimeout = 5 * time.Second

// limitTimeout bounds how long a live read waits for its turn. It is well below
// the deadline of an admission: beyond the rate limit the excess fails, and what
// is within it is answered in time.
const limitTimeout = 500 * time.Millisecond

// How long a live "no" is remembered. That there is no object of a UID stays
// true: the API server gives a UID once, and whoever refers to it has seen the
// object. So only forged and long stale references are answered from memory.
// That an object does not say what is wanted may change at any moment.
const (
	goneFor    = 10 * time.Second
	doubtedFor = 500 * time.Millisecond
	// maxRefusals bounds the memory that references can take, forged ones too.
	maxRefusals = 1024
)

// Reader reads from a cache first and from the API server when it must.
// It is safe for concurrent use.
type Reader struct {
	cached, live client.Reader
	flights      singleflight.Group
	limit        *rate.Limiter
	refusals     *expiring.LRUExpireCache
	reads        *prometheus.CounterVec
}

// NewReader returns a Reader of cached, confirming with live no more often than
// limit allows, and registers its counter, tidelay_live_reads_total, with
// metrics.
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

// Wanted is the object a caller of Read looks for.
type Wanted[T client.Object] struct {
	// Empty is an object of the type, with its apiVersion and kind set. It is
	// not changed.
	Empty T
	// Key is the object's name, and its namespace where it has one.
	Key client.ObjectKey
	// UID is the object's; "" takes whichever has the name.
	UID types.UID
	// Believe says whether a cached object with that UID needs no confirmation.
	Believe func(T) bool
	// Trim drops from an object read live what the cache's own transformation
	// drops; nil for nothing.
	Trim func(any) (any, error)
}

// accepts reports whether object is what w wants.
func (w Wanted[T]) accepts(object T) bool {
	return w.is(object) && w.Believe(object)
}

func (w Wanted[T]) is(object T) bool {
	return w.UID == "" || object.GetUID() == w.UID
}

func (w Wanted[T]) kind() schema.GroupVersionKind {
	return w.Empty.GetObjectKind().GroupVersionKind()
}

func (w Wanted[T]) fresh() T {
	return w.Empty.DeepCopyObject().(T)
}

// question tells apart what is read: the same object may be wanted whole by one
// caller and its metadata by another.
type question struct {
	goType reflect.Type
	kind   schema.GroupVersionKind
	key    client.ObjectKey
	uid    types.UID
}

func (w Wanted[T]) question() question {
	return question{reflect.TypeFor[T](), w.kind(), w.Key, w.UID}
}

// flight names the live read that answers every UID.
func (q question) flight() string {
	return fmt.Sprintf("%s %s %s", q.goType, q.kind, q.key)
}

// answer is what a live read came back with.
type answer[T client.Object] struct {
	object T
	err    error
}

// Read returns the object w. A cached one is returned if it has the UID and w
// believes it; otherwise, and when the cache has none or cannot answer, the
// object is read live and returned whatever its UID and whatever w thinks of
// it. A live "no" is remembered for a moment. The object returned is shared and
// must not be changed.
//
// The error is the API server's, or ctx's when that ends first; see IsAbsent.
func Read[T client.Object](ctx context.Context, r *Reader, w Wanted[T]) (T, error) {
	object := w.fresh()
	// Whatever keeps the cache from answering, the API server can answer
	// instead: no such object, no informer for the kind, not started yet.
	if err := r.cached.Get(ctx, w.Key, object); err == nil && w.accepts(object) {
		return object, nil
	}
	q := w.question()
	if refusal, ok := r.refusals.Get(q); ok {
		a := refusal.(answer[T])
		return a.object, a.err
	}
	object, err := readLive(ctx, r, w)
	if ttl := memorable(w, object, err); ttl > 0 {
		kept := object
		if err == nil && !w.is(object) {
			kept = w.identity(object)
		}
		r.refusals.Add(q, answer[T]{kept, err}, ttl)
	}
	return object, err
}

// identity is all that is kept of an object that is not the wanted one, however
// many forged UIDs it is asked for by.
func (w Wanted[T]) identity(object T) T {
	other := w.fresh()
	other.SetNamespace(object.GetNamespace())
	other.SetName(object.GetName())
	other.SetUID(object.GetUID())
	return other
}

// memorable returns for how long the answer of a live read may be repeated, 0
// for not at all.
func memorable[T client.Object](w Wanted[T], object T, err error) time.Duration {
	switch {
	case apierrors.IsNotFound(err) && w.UID != "":
		return goneFor
	case IsAbsent(err):
		return doubtedFor
	case err != nil:
		return 0
	case !w.is(object):
		return goneFor
	case !w.Believe(object):
		return doubtedFor
	default:
		return 0
	}
}

// readLive reads from the API server, sharing the read with those who want the
// same object at the same time.
func readLive[T client.Object](ctx context.Context, r *Reader, w Wanted[T]) (T, error) {
	var none T
	for first := true; ; first = false {
		own := false
		flight := r.flights.DoChan(w.question().flight(), func() (any, error) {
			own = true
			object, err := fetch(context.WithoutCancel(ctx), r, w)
			r.reads.WithLabelValues(w.kind().Kind, result(err)).Inc()
			return object, err
		})
		select {
		case <-ctx.Done():
			return none, ctx.Err()
		case landed := <-flight:
			object, _ := landed.Val.(T)
			// A read that somebody else had begun may be older than the object
			// we look for. The next one is not, whoever begins it.
			if first && !own && (landed.Err != nil || !w.accepts(object)) {
				continue
			}
			if landed.Err != nil {
				return none, landed.Err
			}
			return object, nil
		}
	}
}

// fetch reads once from the API server, when it is its turn.
func fetch[T client.Object](ctx context.Context, r *Reader, w Wanted[T]) (T, error) {
	object := w.fresh()
	turn, cancel := context.WithTimeout(ctx, limitTimeout)
	defer cancel()
	if err := r.limit.Wait(turn); err != nil {
		return object, fmt.Errorf("wait for a live read: %w", err)
	}
	ctx, cancel = context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	if err := r.live.Get(ctx, w.Key, object); err != nil {
		return object, err
	}
	if w.Trim != nil {
		if _, err := w.Trim(object); err != nil {
			return object, fmt.Errorf("trim: %w", err)
		}
	}
	return object, nil
}

// IsAbsent reports whether err, from Read, means that there is no such object,
// be it for want of its kind.
func IsAbsent(err error) bool {
	return apierrors.IsNotFound(err) || meta.IsNoMatchError(err)
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
