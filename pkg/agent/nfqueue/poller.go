//go:build linux

package nfqueue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// poller sleeps until there is input, a point in time is reached, or wake is
// called, in one system call. Go's timers would be up to a millisecond late,
// because the runtime waits in whole milliseconds. A timerfd is as precise as
// the kernel.
type poller struct {
	fds []unix.PollFd

	mu     sync.Mutex // for wake and close
	closed bool
}

// Indices of poller.fds. The inputs come after.
const (
	pollTimer = iota
	pollWake
)

// newPoller returns a poller for descriptors, which stay the caller's.
func newPoller(inputs ...int) (*poller, error) {
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("create timer: %w", err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create event: %w", err), unix.Close(timer))
	}
	p := &poller{}
	for _, fd := range append([]int{pollTimer: timer, pollWake: event}, inputs...) {
		p.fds = append(p.fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	return p, nil
}

// wake ends the current wait, or the next one if there is none. It may be
// called from any goroutine and does nothing after close.
func (p *poller) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	// The write can't fail: it would take 2^64-1 of them without a read.
	_, _ = unix.Write(int(p.fds[pollWake].Fd), binary.NativeEndian.AppendUint64(nil, 1))
}

// forever is a wait without a timer.
const forever = time.Duration(math.MaxInt64)

// wait blocks until there is input, longest is over, or somebody calls wake.
// Without a cause it returns only if a signal interrupts it.
func (p *poller) wait(longest time.Duration) error {
	var timer unix.ItimerSpec // the zero value stops the timer
	if longest != forever {
		timer.Value = unix.NsecToTimespec(max(1, longest.Nanoseconds()))
	}
	if err := unix.TimerfdSettime(int(p.fds[pollTimer].Fd), 0, &timer, nil); err != nil {
		return fmt.Errorf("set timer: %w", err)
	}
	if _, err := unix.Ppoll(p.fds, nil, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("poll: %w", err)
	}
	if p.fds[pollWake].Revents != 0 {
		var count [8]byte
		_, _ = unix.Read(int(p.fds[pollWake].Fd), count[:]) // sets the counter to 0
	}
	return nil
}

// close closes the poller's own descriptors. No wait may be under way.
func (p *poller) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	return errors.Join(
		unix.Close(int(p.fds[pollTimer].Fd)),
		unix.Close(int(p.fds[pollWake].Fd)),
	)
}
