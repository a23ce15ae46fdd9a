package agent

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

func TestLock(t *testing.T) {
	name := fmt.Sprint("@tidelay-test-", os.Getpid()) // other tests on this machine have theirs
	ctx, cancel := context.WithCancel(t.Context())
	first, err := acquireLock(ctx, name, ":2332")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { first.run(ctx) })
	for range 2 {
		_, err = acquireLock(ctx, name, ":2333")
		if err == nil || !strings.Contains(err.Error(), `":2332"`) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
			t.Errorf("a second agent: %v, want the first one's address and process", err)
		}
	}
	cancel()
	running.Wait()
	if _, err := acquireLock(t.Context(), name, ":2333"); err == nil {
		t.Error("the lock is free while its agent still ends")
	}
	first.release()
	second, err := acquireLock(t.Context(), name, ":2333")
	if err != nil {
		t.Fatalf("after the first agent: %v", err)
	}
	second.release()
}
