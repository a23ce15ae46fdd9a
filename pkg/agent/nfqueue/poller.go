//go:build linux

package nfqueue

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// poller waits for a descriptor, a point in time, a kick and the end of a
// context in one system call. Go's own timers can be a millisecond late, because the
// runtime waits in whole milliseconds; a timerfd is as precise as the kernel.
type poller struct {
	fds    [3]unix.PollFd
	ended  func() bool   // whether the context has
	forget func() bool   // about the context, unless it has ended
	told   chan struct{} // closed once the context's end was noted
}

// Places in poller.fds.
const (
	pollInput = iota
	pollTimer
	pollKick
)

// newPoller returns a poller for input, which it does not own.
func newPoller(ctx context.Context, input int) (*poller, error) {
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("create timer: %w", err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create event: %w", err), unix.Close(timer))
	}
	p := &poller{told: make(chan struct{}), ended: func() bool { return ctx.Err() != nil }}
	for i, fd := range [...]int{pollInput: input, pollTimer: timer, pollKick: event} {
		p.fds[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	p.forget = context.AfterFunc(ctx, func() {
		defer close(p.told)
		p.kick()
	})
	return p, nil
}

// kick ends the wait that is under way, or the next one. It may be called from
// another goroutine until close.
func (p *poller) kick() {
	// It can't fail: the counter is far from its end.
	_, _ = unix.Write(int(p.fds[pollKick].Fd), binary.NativeEndian.AppendUint64(nil, 1))
}

// forever is a wait without a timer.
const forever = time.Duration(math.MaxInt64)

// wait blocks until there is input, the time is over, somebody kicks, or the
// context has ended, which it reports.
func (p *poller) wait(longest time.Duration) (ended bool, err error) {
	if p.ended() {
		return true, nil
	}
	var timer unix.ItimerSpec // zero stops the timer
	if longest != forever {
		timer.Value = unix.NsecToTimespec(max(1, longest.Nanoseconds()))
	}
	if err := unix.TimerfdSettime(int(p.fds[pollTimer].Fd), 0, &timer, nil); err != nil {
		return false, fmt.Errorf("set timer: %w", err)
	}
	if _, err := unix.Ppoll(p.fds[:], nil, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return false, fmt.Errorf("poll: %w", err)
	}
	if p.fds[pollKick].Revents != 0 {
		var count [8]byte
		_, _ = unix.Read(int(p.fds[pollKick].Fd), count[:]) // back to zero
	}
	return p.ended(), nil
}

func (p *poller) close() error {
	if !p.forget() {
		<-p.told
	}
	return errors.Join(
		unix.Close(int(p.fds[pollTimer].Fd)),
		unix.Close(int(p.fds[pollKick].Fd)),
	)
}
