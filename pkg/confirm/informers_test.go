package confirm

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// cluster is an API server, seen through a cache: it has some kinds, and lists
// them when the test allows it.
type cluster struct {
	cache.Cache
	mu     sync.Mutex
	kinds  map[string]bool
	listed bool
	err    error
}

func (c *cluster) GetInformer(_ context.Context, object client.Object, options ...cache.InformerGetOption) (cache.Informer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var o cache.InformerGetOptions
	for _, option := range options {
		option(&o)
	}
	if o.BlockUntilSynced == nil || *o.BlockUntilSynced {
		return nil, errors.New("would wait for the first list")
	}
	if c.err != nil {
		return nil, c.err
	}
	kind := object.GetObjectKind().GroupVersionKind()
	if !c.kinds[kind.Kind] {
		return nil, &meta.NoKindMatchError{GroupKind: kind.GroupKind()}
	}
	return fakeInformer{cluster: c}, nil
}

func (c *cluster) set(change func(*cluster)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

type fakeInformer struct {
	cache.Informer
	cluster *cluster
}

func (f fakeInformer) HasSynced() bool {
	f.cluster.mu.Lock()
	defer f.cluster.mu.Unlock()
	return f.cluster.listed
}

func emptyKind(name string) *metav1.PartialObjectMetadata {
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: "x", Version: "v1", Kind: name})
	return o
}

func TestInformers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{kinds: map[string]bool{"Builtin": true}, err: errDown}
		i := NewInformers(c, []Kind{
			{Object: emptyKind("Builtin")}, {Object: emptyKind("Extra"), Optional: true}, {Object: emptyKind("Installed")},
		})
		want := func(part string) {
			t.Helper()
			synctest.Wait()
			err := i.Synced()
			if part == "" && err != nil || part != "" && (err == nil || !strings.Contains(err.Error(), part)) {
				t.Errorf("Synced() = %v, want %q", err, part)
			}
		}
		want("not started")

		returned := make(chan error, 1)
		go func() { returned <- i.Start(t.Context()) }()
		want(errDown.Error())
		c.set(func(c *cluster) { c.err = nil })
		<-time.After(retryInterval)
		want("informer of Builtin.x has not synced")
		c.set(func(c *cluster) { c.listed = true })
		want(`watch Installed.x: no matches for kind "Installed"`)
		c.set(func(c *cluster) { c.kinds["Installed"] = true })
		<-time.After(retryInterval)
		want("")
		if err := <-returned; err != nil {
			t.Errorf("Start: %v", err)
		}
		if len(i.started) != 2 {
			t.Errorf("%d informers started, want 2: the optional kind is not there", len(i.started))
		}
	})
}

func TestInformersStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		returned := make(chan error, 1)
		go func() { returned <- NewInformers(&cluster{}, []Kind{{Object: emptyKind("Installed")}}).Start(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-returned; err != nil {
			t.Errorf("Start: %v, want no error when it is stopped", err)
		}
	})
}

func TestByObject(t *testing.T) {
	options := ByObject([]Kind{{Object: emptyKind("Builtin"), Cache: &cache.ByObject{}}, {Object: emptyKind("Installed")}})
	if len(options) != 1 {
		t.Errorf("options for %d kinds, want 1", len(options))
	}
}
