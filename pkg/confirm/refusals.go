package confirm

import (
	"reflect"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// How long a live "no" is remembered.
//
// An object with a UID that is gone stays gone: the API server gives out each UID
// once, and an owner reference is written after its owner was made. So a long
// memory answers only forged and stale references. An object that is there and
// is not accepted may change at any moment, so that memory is short.
const (
	goneTTL       = 10 * time.Second
	unacceptedTTL = 500 * time.Millisecond
	// maxRefusals bounds the memory that references can take, forged ones too.
	maxRefusals = 1024
)

// answer is the result of a live read.
type answer[T client.Object] struct {
	object T
	err    error
}

// identity is what a query asks for. It has the Go type because the same object
// may be read whole for one caller and without its contents for another.
type identity struct {
	goType reflect.Type
	kind   schema.GroupVersionKind
	key    client.ObjectKey
	uid    types.UID
}

func (q Query[T]) identity() identity {
	return identity{reflect.TypeFor[T](), q.kind(), q.Key, q.UID}
}

// recall returns the remembered refusal of q, if there is one.
func recall[T client.Object](r *Reader, q Query[T]) (answer[T], bool) {
	refusal, ok := r.refusals.Get(q.identity())
	if !ok {
		return answer[T]{}, false
	}
	return refusal.(answer[T]), true
}

// remember keeps the answer of a live read for a moment if it is a "no".
func remember[T client.Object](r *Reader, q Query[T], a answer[T]) {
	ttl := refusalTTL(q, a)
	if ttl == 0 {
		return
	}
	if a.err == nil && !q.matches(a.object) {
		// Many forged UIDs may be asked for, so that only a little is kept of the
		// object that has the name instead.
		a.object = withoutContents(q, a.object)
	}
	r.refusals.Add(q.identity(), a, ttl)
}

// refusalTTL returns for how long an answer may be repeated. It returns 0 for
// one that is no refusal, which must be asked for again.
func refusalTTL[T client.Object](q Query[T], a answer[T]) time.Duration {
	switch {
	case apierrors.IsNotFound(a.err) && q.UID != "":
		return goneTTL
	case IsAbsent(a.err): // the name may be taken, and the kind be installed, at any moment
		return unacceptedTTL
	case a.err != nil:
		return 0
	case !q.matches(a.object):
		return goneTTL
	case !q.accepts(a.object):
		return unacceptedTTL
	default: // a yes, which the cache will soon have
		return 0
	}
}

// withoutContents returns an object with the name and the UID of object only.
func withoutContents[T client.Object](q Query[T], object T) T {
	other := q.newObject()
	other.SetNamespace(object.GetNamespace())
	other.SetName(object.GetName())
	other.SetUID(object.GetUID())
	return other
}
