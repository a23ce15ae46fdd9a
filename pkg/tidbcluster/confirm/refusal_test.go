package confirm

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// asker counts the live reads that its questions cost.
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

// ask wants the object with a UID, which is believed or not, and returns how
// many live reads that took.
func (a *asker) ask(uid types.UID, believed bool) (types.UID, int) {
	a.t.Helper()
	empty := &metav1.PartialObjectMetadata{}
	empty.SetGroupVersionKind(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "StatefulSet"})
	before := a.reads
	object, err := Read(a.t.Context(), a.r, Wanted[*metav1.PartialObjectMetadata]{
		Empty: empty, Key: key, UID: uid, Believe: func(*metav1.PartialObjectMetadata) bool { return believed },
	})
	if err != nil {
		return "", a.reads - before
	}
	return object.UID, a.reads - before
}

func (a *asker) want(what string, uid types.UID, believed bool, wantUID types.UID, wantReads int) {
	a.t.Helper()
	if got, reads := a.ask(uid, believed); got != wantUID || reads != wantReads {
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
		time.Sleep(goneFor + 1)
		a.want("later", "forged", true, "real", 1)
	})
}

func TestRefusalDoubted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t)
		a.holds = "real"
		a.want("an object that says no", "real", false, "real", 1)
		a.want("the same at once", "real", false, "real", 0)
		time.Sleep(doubtedFor + 1)
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
		time.Sleep(doubtedFor + 1)
		a.want("a moment later", "", true, "real", 1)
	})
}
