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

// poller waits for a descriptor, a point in time and the end of a context in
// one system call. Go's own timers can be a millisecond late, because the
// runtime waits in whole milliseconds; a timerfd is as precise as the kernel.
type poller struct {
	fds    [3]unix.PollFd
	forget func() bool   // about the context, unless it has ended
	told   chan struct{} // closed once the context's end was noted
}

// Places in poller.fds.
const (
	pollInput = iota
	pollTimer
	pollEnd
)

// newPoller returns a poller for input, which it does not own.
func newPoller(ctx context.Context, input int) (*poller, error) {
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("create timer: %w", err)
	}
	end, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create event: %w", err), unix.Close(timer))
	}
	p := &poller{told: make(chan struct{})}
	for i, fd := range [...]int{pollInput: input, pollTimer: timer, pollEnd: end} {
		p.fds[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	p.forget = context.AfterFunc(ctx, func() {
		defer close(p.told)
		// It can't fail: the counter is far from its end.
		_, _ = unix.Write(end, binary.NativeEndian.AppendUint64(nil, 1))
	})
	return p, nil
}

// forever is a wait without a timer.
const forever = time.Duration(math.MaxInt64)

// wait blocks until there is input, the time is over or the context has ended,
// which it reports.
func (p *poller) wait(longest time.Duration) (ended bool, err error) {
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
	return p.fds[pollEnd].Revents != 0, nil
}

func (p *poller) close() error {
	if !p.forget() {
		<-p.told
	}
	return errors.Join(
		unix.Close(int(p.fds[pollTimer].Fd)),
		unix.Close(int(p.fds[pollEnd].Fd)),
	)
}
