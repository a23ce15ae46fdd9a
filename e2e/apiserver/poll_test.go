//go:build apiserver

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// final is an error that no further try will change.
type final struct{ error }

// poll repeats check until it succeeds; after limit, or when the error is
// final, it returns the last one.
func poll(ctx context.Context, limit time.Duration, check func() error) error {
	return pollEvery(ctx, 10*time.Millisecond, limit, check)
}

// pollEvery is poll with a time from one try to the next.
func pollEvery(ctx context.Context, interval, limit time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		err := check()
		if err == nil || errors.As(err, &final{}) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", limit, err)
		case <-tick.C:
		}
	}
}

// eventually is poll for a test, which ends when the limit passes.
func eventually(t *testing.T, limit time.Duration, check func() error) {
	t.Helper()
	must(t, poll(t.Context(), limit, check))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
