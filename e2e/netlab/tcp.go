//go:build linux

package netlab

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"testing"
	"time"
)

// patience limits how long a connection may take.
const patience = 10 * time.Second

// Dial connects from the host. The address must be a literal, so that the
// dialer has no reason to leave this thread.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := h.Do(func() (err error) {
		conn, err = (&net.Dialer{Timeout: patience}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Connects says whether a TCP connection comes about within a time.
func (h *Host) Connects(t testing.TB, address string, within time.Duration) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	conn, err := h.Dial(ctx, "tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// ConnectTime is the shortest of some TCP handshakes, so that a busy machine
// does not count.
func (h *Host) ConnectTime(t testing.TB, address string) time.Duration {
	t.Helper()
	const handshakes = 5
	shortest := time.Duration(math.MaxInt64)
	err := h.Do(func() error {
		for range handshakes {
			start := time.Now()
			conn, err := net.DialTimeout("tcp", address, patience)
			if err != nil {
				return err
			}
			shortest = min(shortest, time.Since(start))
			_ = conn.Close()
		}
		return nil
	})
	if err != nil {
		t.Fatalf("connect to %s: %v", address, err)
	}
	return shortest
}

// Listen accepts TCP at an address of the host until the test ends, and hands
// each connection to serve. ":4000" is every address, and port 0 any port. It
// returns the address that it listens at.
func (h *Host) Listen(t testing.TB, address string, serve func(net.Conn)) net.Addr {
	t.Helper()
	var listener net.Listener
	err := h.Do(func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return listener.Addr()
}

// Discard is a TCP server that only completes handshakes.
func Discard(net.Conn) {}

// Swallow is a TCP server that reads to the end.
func Swallow(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// EchoTCP is a TCP server that sends back what it gets.
func EchoTCP(conn net.Conn) { _, _ = io.Copy(conn, conn) }

// StreamRate sends through one TCP connection to a server that reads, first for
// a time in which the congestion window opens and then for one that is measured.
// It returns how many bits a second the connection took in the latter.
func (h *Host) StreamRate(t testing.TB, address string, opening, measured time.Duration) float64 {
	t.Helper()
	rate, err := h.streamRate(t.Context(), address, opening, measured)
	if err != nil {
		t.Fatalf("stream to %s: %v", address, err)
	}
	return rate
}

func (h *Host) streamRate(ctx context.Context, address string, opening, measured time.Duration) (float64, error) {
	conn, err := h.Dial(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	block := make([]byte, 256<<10)
	send := func(until time.Time) (sent int, err error) {
		if err := conn.SetWriteDeadline(until); err != nil {
			return 0, fmt.Errorf("set a deadline: %w", err)
		}
		for err == nil {
			var n int
			n, err = conn.Write(block)
			sent += n
		}
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() { //nolint:errorlint // net.Conn returns it as it is
			return sent, nil
		}
		return sent, err
	}
	if _, err := send(time.Now().Add(opening)); err != nil {
		return 0, err
	}
	start := time.Now()
	sent, err := send(start.Add(measured))
	return 8 * float64(sent) / time.Since(start).Seconds(), err
}

// Stream sends through one TCP connection to a server that reads, as fast as it
// goes, until ctx ends.
func (h *Host) Stream(ctx context.Context, address string) error {
	conn, err := h.Dial(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Now()) })()
	block := make([]byte, 256<<10)
	for {
		if _, err := conn.Write(block); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("stream to %s: %w", address, err)
		}
	}
}
