package daemon

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-logr/logr"
)

// What a program waits for it tries again, says why meanwhile, and gives up with its context.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health, tries := NewHealth(logr.Discard()), 0
		err := Await(t.Context(), "kinds", health, func(context.Context) error {
			if tries++; tries < 3 {
				return errors.New("no such kind")
			}
			if err := health.ready(nil); err == nil || err.Error() != "kinds: no such kind" {
				t.Errorf("ready: %v", err)
			}
			return nil
		})
		if err != nil || tries != 3 {
			t.Errorf("after %d tries: %v", tries, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = Await(ctx, "kinds", health, func(context.Context) error {
			cancel()
			return errors.New("no such kind")
		})
		if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "kind") {
			t.Errorf("error %v", err)
		}
	})
}
