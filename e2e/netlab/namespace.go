//go:build linux

package netlab

import (
	"errors"
	"fmt"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// thisNamespace opens the network namespace of the calling thread.
func thisNamespace() (int, error) {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open this thread's network namespace: %w", err)
	}
	return fd, nil
}

// newNamespace makes a network namespace. It lives until its descriptor is
// closed and no process is in it.
func newNamespace() (fd int, err error) {
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		fd, err = thisNamespace()
		return err
	})
	return fd, err
}

// errUnfinished says that code for another thread ended its goroutine.
var errUnfinished = errors.New("the code did not return, as by t.Fatal")

// onThread calls f on a thread of its own, which may change namespaces, and ends
// with f.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// It is never unlocked: the thread ends with the goroutine, and no other
		// goroutine gets one that is somewhere else.
		runtime.LockOSThread()
		err := errUnfinished
		defer func() { done <- err }()
		err = f()
	}()
	return <-done
}

// Do calls f on a thread in the host's namespace. Sockets that f opens stay
// there, and so do processes that it starts.
func (h *Host) Do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(h.namespace, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the namespace of %s: %w", h.Name, err)
		}
		return f()
	})
}

// Enter moves the goroutine of the test into the host's namespace for the rest
// of the test. It is for tests whose own code works on the kernel.
func (h *Host) Enter(t testing.TB) {
	t.Helper()
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Setns(h.namespace, unix.CLONE_NEWNET); err != nil {
		t.Fatalf("enter the namespace of %s: %v", h.Name, err)
	}
}
