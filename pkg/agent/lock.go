package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockName is an abstract Unix socket, of which each network namespace has its
// own (unix(7), network_namespaces(7)).
const lockName = "@tidelay-agent"

// lock keeps a second agent out of the pod's network namespace, where it would
// take the first one's faults for leftovers. The kernel releases it when the
// process ends, however it ends.
type lock struct {
	listener *net.UnixListener
	// address is where this agent listens, for the message of a second one.
	address string
}

// waitForLock takes the lock of a name as soon as no other agent has it. It returns
// nil if ctx ends before that.
func waitForLock(ctx context.Context, t *tasks, name, address string) *lock {
	var taken *lock
	t.keep(ctx, "lock the pod", longestWait, func(ctx context.Context, works func()) error {
		var err error
		if taken, err = acquireLock(ctx, name, address); err == nil {
			works()
		}
		return err
	})
	return taken
}

// acquireLock takes the lock of a name. The error names the agent that has it, by its
// address and, where the two share a PID namespace, by its process.
func acquireLock(ctx context.Context, name, address string) (*lock, error) {
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: name})
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, fmt.Errorf("another agent runs in this pod: %s; this one changes nothing until that has ended", describeHolder(ctx, name))
	case err != nil:
		return nil, fmt.Errorf("lock the pod: %w", err)
	}
	return &lock{listener: listener, address: address}, nil
}

// release gives the lock back.
func (l *lock) release() { _ = l.listener.Close() }

// acceptInterval is how long to wait after nobody could be answered, as when the
// process has too many files open.
const acceptInterval = time.Second

// run tells others who ask where this agent listens, until ctx ends. That it can't
// is no reason to end the agent. It does not release the lock, since the engine
// may still have packets then.
func (l *lock) run(ctx context.Context) {
	defer context.AfterFunc(ctx, func() { _ = l.listener.SetDeadline(time.Unix(0, 1)) })()
	for {
		conn, err := l.listener.Accept()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(acceptInterval):
			}
			continue
		}
		_, _ = io.WriteString(conn, l.address+"\n") // it fits the socket's buffer
		_ = conn.Close()
	}
}

// describeHolder says who has the lock.
func describeHolder(ctx context.Context, name string) string {
	const patience, longest = time.Second, 100
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "unix", name)
	if err != nil {
		return "it does not answer: " + err.Error()
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	address, _ := io.ReadAll(io.LimitReader(conn, longest))
	text := "it does not say where it listens"
	if line := strings.TrimSpace(string(address)); line != "" {
		text = fmt.Sprintf("it listens at %q", line)
	}
	if pid := peerPID(conn); pid > 0 {
		text += fmt.Sprintf(", process %d", pid)
	}
	return text
}

// peerPID returns the process that listens at the other end, 0 if it is in
// another PID namespace.
func peerPID(conn net.Conn) int32 {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return 0
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0
	}
	var pid int32
	_ = raw.Control(func(fd uintptr) {
		if credentials, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = credentials.Pid
		}
	})
	return pid
}
