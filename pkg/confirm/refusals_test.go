package confirm

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// asker counts the live reads that it causes.
type asker struct {
	t     *testing.T
	r     *Reader
	reads int
	// holds is what the API server has; "" for nothing.
	holds types.UID
	fails error
}

func newAsker(t *testing.T) *asker {
	a := &asker{t: t}
	a.r, _ = newReader(t, fails(notFound()), store{answer: func(context.Context) (types.UID, error) {
		a.reads++
		switch {
		case a.fails != nil:
			return "", a.fails
		case a.holds == "":
			return "", notFound()
		}
		return a.holds, nil
	}})
	return a
}

// ask wants the object with a UID, which is accepted or not, and returns how
// many live reads that took.
func (a *asker) ask(uid types.UID, accepted bool) (types.UID, int) {
	a.t.Helper()
	empty := &metav1.PartialObjectMetadata{}
	empty.SetGroupVersionKind(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "StatefulSet"})
	before := a.reads
	object, err := Read(a.t.Context(), a.r, Query[*metav1.PartialObjectMetadata]{
		Empty: empty, Key: key, UID: uid, Accept: func(*metav1.PartialObjectMetadata) bool { return accepted },
	})
	if err != nil {
		return "", a.reads - before
	}
	return object.UID, a.reads - before
}

func (a *asker) want(what string, uid types.UID, accepted bool, wantUID types.UID, wantReads int) {
	a.t.Helper()
	if got, reads := a.ask(uid, accepted); got != wantUID || reads != wantReads {
		a.t.Errorf("%s: got %q with %d live reads, want %q with %d", what, got, reads, wantUID, wantReads)
	}
}

func TestRefusalGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t)
		a.want("a forged reference", "forged", true, "", 1)
		for range 100 {
			a.want("the same again", "forged", true, "", 0)
		}
		// The name is taken by another object at once: whoever refers to that one
		// is not kept waiting by the memory of the other.
		a.holds = "real"
		a.want("the object that is there now", "real", true, "real", 1)
		a.want("another forged reference", "other", true, "real", 1)
		a.want("that again", "other", true, "real", 0)
		time.Sleep(goneTTL + 1)
		a.want("later", "forged", true, "real", 1)
	})
}

func TestRefusalUnaccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t)
		a.holds = "real"
		a.want("an object that says no", "real", false, "real", 1)
		a.want("the same at once", "real", false, "real", 0)
		time.Sleep(unacceptedTTL + 1)
		a.want("the same later", "real", false, "real", 1)
	})
}

// Nothing is remembered that may be otherwise the next time.
func TestRefusalNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t)
		a.fails = errDown
		a.want("an API server that is down", "real", true, "", 1)
		a.want("still down", "real", true, "", 1)
		a.fails, a.holds = nil, "real"
		a.want("up again", "real", true, "real", 1)
		a.want("a yes is the informer's to remember", "real", true, "real", 1)
	})
}

// A name alone may be taken any moment.
func TestRefusalOfAName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t)
		a.want("no such name", "", true, "", 1)
		a.holds = "real"
		a.want("at once", "", true, "", 0)
		time.Sleep(unacceptedTTL + 1)
		a.want("a moment later", "", true, "real", 1)
	})
}

// Of an object that is another than the wanted one only its identity is kept,
// by however many forged UIDs it is asked for.
func TestRefusalIsSmall(t *testing.T) {
	r, _ := newReader(t, fails(notFound()), large{})
	empty := &metav1.PartialObjectMetadata{}
	for _, uid := range []types.UID{"forged", "real"} {
		q := Query[*metav1.PartialObjectMetadata]{
			Empty: empty, Key: key, UID: uid, Accept: func(*metav1.PartialObjectMetadata) bool { return false },
			Trim: func(o any) (any, error) {
				o.(*metav1.PartialObjectMetadata).Annotations = nil
				return o, nil
			},
		}
		if _, err := Read(t.Context(), r, q); err != nil {
			t.Fatal(err)
		}
		kept, ok := r.refusals.Get(q.identity())
		if !ok {
			t.Fatalf("the refusal of %q is not remembered", uid)
		}
		object := kept.(answer[*metav1.PartialObjectMetadata]).object
		if object.UID != "real" || len(object.Annotations) > 0 || uid == "forged" && len(object.OwnerReferences) > 0 {
			t.Errorf("kept for %q: %+v", uid, object)
		}
	}
}

// large is an API server with one object that has much of everything.
type large struct{ client.Reader }

func (large) Get(_ context.Context, _ client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	object.SetUID("real")
	object.SetAnnotations(map[string]string{"large": strings.Repeat("x", 1000)})
	object.SetOwnerReferences(make([]metav1.OwnerReference, 1000))
	return nil
}

// The same object, wanted whole by one caller and its metadata by another at
// the same time, is read for each.
func TestReadOfTwoTypes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newReader(t, fails(notFound()), store{answer: func(context.Context) (types.UID, error) {
			time.Sleep(time.Second)
			return "new", nil
		}})
		whole := &appsv1.StatefulSet{}
		whole.SetGroupVersionKind(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "StatefulSet"})
		var callers sync.WaitGroup
		callers.Go(func() {
			if uid, err := read(t.Context(), r); uid != "new" || err != nil {
				t.Errorf("metadata: %q, %v", uid, err)
			}
		})
		callers.Go(func() {
			o, err := Read(t.Context(), r, Query[*appsv1.StatefulSet]{Empty: whole, Key: key})
			if err != nil || o.UID != "new" {
				t.Errorf("whole: %v, %v", o, err)
			}
		})
		callers.Wait()
	})
}

// Beyond the rate limit the excess fails at once, and what is within it is
// answered before its caller has gone.
func TestReadLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, seconds = 100, 10
		r, _ := newReader(t, fails(notFound()), holds("new"))
		r.limit = rate.NewLimiter(perSecond, 1)
		var callers sync.WaitGroup
		var answered atomic.Int32
		for i := range 4 * perSecond * seconds {
			callers.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				empty := &metav1.PartialObjectMetadata{}
				name := types.NamespacedName{Name: fmt.Sprint(i)}
				if _, err := Read(ctx, r, Query[*metav1.PartialObjectMetadata]{Empty: empty, Key: name}); err == nil {
					answered.Add(1)
				}
			})
			time.Sleep(time.Second / (4 * perSecond))
		}
		callers.Wait()
		if n := answered.Load(); n < perSecond*(seconds-1) {
			t.Errorf("%d of %d reads answered in %d s, want %d each second", n, 4*perSecond*seconds, seconds, perSecond)
		}
	})
}
