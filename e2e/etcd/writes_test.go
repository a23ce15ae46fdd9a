//go:build kernel

package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
)

// writes are those of one test. What a member acknowledged must be on all members
// in the end. What failed may be there or not.
type writes struct {
	mu           sync.Mutex
	made         int
	acknowledged []string
	failed       []error
}

// writeTimeout is longer than an election. etcd itself gives up after 5 s and two
// election time-outs.
const writeTimeout = 10 * time.Second

// put makes a write of a key of its own through a member, and returns how long it
// took.
func (w *writes) put(m *member, limit time.Duration) (time.Duration, error) {
	w.mu.Lock()
	w.made++
	key := fmt.Sprintf("%d-%d", time.Now().UnixNano(), w.made)
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	start := time.Now()
	err := m.put(ctx, key)
	took := time.Since(start)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.acknowledged = append(w.acknowledged, key)
	} else {
		w.failed = append(w.failed, err)
	}
	return took, err
}

// keys are those of all acknowledged writes so far.
func (w *writes) keys() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.acknowledged)
}

// failure is the first error of a write, with how many there were.
func (w *writes) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.failed) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d writes failed, the first: %w", len(w.failed), w.made, w.failed[0])
}

// median is the median time of a number of writes through a member, one after the
// other. None of them may fail.
func (w *writes) median(t *testing.T, m *member) time.Duration {
	t.Helper()
	times := make([]time.Duration, samples)
	for i := range times {
		var err error
		if times[i], err = w.put(m, writeTimeout); err != nil {
			t.Fatalf("write through %s: %v", m.host.Name, err)
		}
	}
	return netlab.Median(times)
}

// samples is how many writes a median is of.
const samples = 51

// wantMore waits until more writes are acknowledged, which others make.
func (w *writes) wantMore(t *testing.T, count int) {
	t.Helper()
	want := len(w.keys()) + count
	netlab.Eventually(t, electing, fmt.Sprintf("%d more writes are acknowledged", count), func() error {
		if got := len(w.keys()); got < want {
			return errors.Join(fmt.Errorf("%d are missing", want-got), w.failure())
		}
		return nil
	})
}

// load writes through some members, through each one write after the other, until
// ctx ends. Wait for the group then.
func (w *writes) load(ctx context.Context, members ...*member) *sync.WaitGroup {
	var group sync.WaitGroup
	for _, m := range members {
		group.Go(func() {
			for ctx.Err() == nil {
				if _, err := w.put(m, writeTimeout); err != nil {
					<-time.After(50 * time.Millisecond) // it may have failed at once
				}
			}
		})
	}
	return &group
}
