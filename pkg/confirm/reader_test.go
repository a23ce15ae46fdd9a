package confirm

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var (
	key     = types.NamespacedName{Namespace: "db", Name: "basic-pd"}
	errDown = errors.New("the API server does not answer")
)

// store answers a Get with what answer returns.
type store struct {
	client.Reader
	answer func(ctx context.Context) (types.UID, error)
}

func (s store) Get(ctx context.Context, _ client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	uid, err := s.answer(ctx)
	object.SetUID(uid)
	return err
}

func holds(uid types.UID) store {
	return store{answer: func(context.Context) (types.UID, error) { return uid, nil }}
}

func fails(err error) store {
	return store{answer: func(context.Context) (types.UID, error) { return "", err }}
}

func notFound() error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: "statefulsets"}, key.Name)
}

func newReader(t *testing.T, cached, live client.Reader) (*Reader, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	r, err := NewReader(cached, live, rate.NewLimiter(rate.Inf, 0), registry)
	if err != nil {
		t.Fatal(err)
	}
	return r, registry
}

// read asks for an object that must have UID "new".
func read(ctx context.Context, r *Reader) (types.UID, error) {
	empty := &metav1.PartialObjectMetadata{}
	empty.SetGroupVersionKind(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "StatefulSet"})
	object, err := Read(ctx, r, Query[*metav1.PartialObjectMetadata]{
		Empty: empty, Key: key, UID: "new",
	})
	if err != nil {
		return "", err
	}
	return object.UID, nil
}

func TestRead(t *testing.T) {
	tests := map[string]struct {
		cached, live store
		want         types.UID
		wantErr      error
		liveReads    map[string]float64 // by result
	}{
		"if the cache has it, answer from there": {
			cached: holds("new"), live: fails(errDown), want: "new",
		},
		"if the cache has none, read live": {
			cached: fails(notFound()), live: holds("new"), want: "new", liveReads: map[string]float64{"found": 1},
		},
		"if the cache cannot answer, read live": {
			cached: fails(errors.New("no informer")), live: holds("new"), want: "new", liveReads: map[string]float64{"found": 1},
		},
		"if the cache has another UID, read live": {
			cached: holds("old"), live: holds("new"), want: "new", liveReads: map[string]float64{"found": 1},
		},
		"if the API server has that UID too, return it": {
			cached: holds("old"), live: holds("old"), want: "old", liveReads: map[string]float64{"found": 1},
		},
		"if the API server has none either, say so": {
			cached: holds("old"), live: fails(notFound()), wantErr: notFound(), liveReads: map[string]float64{"not_found": 1},
		},
		"if the API server fails, say so": {
			cached: fails(notFound()), live: fails(errDown), wantErr: errDown, liveReads: map[string]float64{"error": 1},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r, _ := newReader(t, test.cached, test.live)
			got, err := read(t.Context(), r)
			if got != test.want || (err == nil) != (test.wantErr == nil) || err != nil && err.Error() != test.wantErr.Error() {
				t.Errorf("got %q, %v; want %q, %v", got, err, test.want, test.wantErr)
			}
			for _, result := range []string{"found", "not_found", "error"} {
				counted := testutil.ToFloat64(r.reads.WithLabelValues("StatefulSet", result))
				if counted != test.liveReads[result] {
					t.Errorf("%v live reads counted as %s, want %v", counted, result, test.liveReads[result])
				}
			}
		})
	}
}

func TestIsAbsent(t *testing.T) {
	r, _ := newReader(t, holds("old"), fails(notFound()))
	if _, err := read(t.Context(), r); !IsAbsent(err) {
		t.Errorf("IsAbsent(%v) = false for an object that is not found", err)
	}
	if IsAbsent(errDown) || IsAbsent(nil) {
		t.Error("IsAbsent is true for another error or none")
	}
}

// TestReadShared lets many callers want the same object at once.
func TestReadShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		r, _ := newReader(t, fails(notFound()), store{answer: func(context.Context) (types.UID, error) {
			reads++
			<-time.After(time.Second)
			return "new", nil
		}})
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() {
				if uid, err := read(t.Context(), r); uid != "new" || err != nil {
					t.Errorf("got %q, %v", uid, err)
				}
			})
		}
		callers.Wait()
		if reads != 1 {
			t.Errorf("100 callers caused %d live reads, want 1", reads)
		}
	})
}

// TestReadSharedTooOld joins a read that left before the object was made: its
// "no" does not count.
func TestReadSharedTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exists := false
		reads := 0
		r, _ := newReader(t, fails(notFound()), store{answer: func(context.Context) (types.UID, error) {
			reads++
			answer := exists
			<-time.After(time.Second)
			if !answer {
				return "", notFound()
			}
			return "new", nil
		}})
		var callers sync.WaitGroup
		callers.Go(func() {
			if _, err := read(t.Context(), r); !apierrors.IsNotFound(err) {
				t.Errorf("the first caller got %v, want not found", err)
			}
		})
		synctest.Wait()
		exists = true
		for range 10 {
			callers.Go(func() {
				if uid, err := read(t.Context(), r); uid != "new" || err != nil {
					t.Errorf("a later caller got %q, %v", uid, err)
				}
			})
		}
		callers.Wait()
		if reads != 2 {
			t.Errorf("%d live reads, want 2", reads)
		}
	})
}

// TestReadDeadline gives up when its own caller must, and lets others wait on.
func TestReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		r, _ := newReader(t, fails(notFound()), store{answer: func(ctx context.Context) (types.UID, error) {
			reads++
			select {
			case <-time.After(3 * time.Second):
				return "new", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}})
		hasty, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var callers sync.WaitGroup
		callers.Go(func() {
			start := time.Now()
			if _, err := read(hasty, r); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("the hasty caller got %v after %v", err, time.Since(start))
			}
		})
		synctest.Wait()
		callers.Go(func() {
			if uid, err := read(t.Context(), r); uid != "new" || err != nil {
				t.Errorf("the patient caller got %q, %v", uid, err)
			}
		})
		callers.Wait()
		if reads != 1 {
			t.Errorf("%d live reads, want 1: the hasty caller's goes on for the patient one", reads)
		}
	})
}

// TestReadNeverAnswered ends a read that nobody waits for any more.
func TestReadNeverAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newReader(t, fails(notFound()), store{answer: func(ctx context.Context) (types.UID, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}})
		start := time.Now()
		if _, err := read(t.Context(), r); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != liveTimeout {
			t.Errorf("got %v after %v, want the deadline after %v", err, time.Since(start), liveTimeout)
		}
	})
}

func TestNewReaderTwice(t *testing.T) {
	r, registry := newReader(t, holds("new"), holds("new"))
	if _, err := NewReader(r.cached, r.live, r.limit, registry); err == nil {
		t.Error("registered tidelay_live_reads_total twice")
	}
	r.reads.WithLabelValues("StatefulSet", "found").Inc()
	if problems, err := testutil.GatherAndLint(registry); len(problems) > 0 || err != nil {
		t.Errorf("metric: %v %v", problems, err)
	}
}
