//go:build linux

package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// EchoPort is the UDP port of Echo.
const EchoPort = 7

// Echo answers every datagram to EchoPort of an address of the host until the
// test ends.
func (h *Host) Echo(t testing.TB, address string) {
	t.Helper()
	conn, err := h.socket(address, EchoPort, false)
	if err != nil {
		t.Fatalf("answer datagrams at %s: %v", address, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buffer := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = conn.WriteToUDPAddrPort(buffer[:n], from)
			}
		}
	}()
}

// RoundTrips measures count round trips of datagrams to an Echo, one after the
// other. It blocks in system calls, because Go's poller would add more than what
// is measured.
func (h *Host) RoundTrips(t testing.TB, to string, count int) []time.Duration {
	t.Helper()
	var times []time.Duration
	if err := h.Do(func() (err error) {
		times, err = roundTrips(to, count)
		return err
	}); err != nil {
		t.Fatalf("send datagrams to %s and back: %v", to, err)
	}
	return times
}

func roundTrips(to string, count int) ([]time.Duration, error) {
	const wait = 5 * time.Second
	address, err := netip.ParseAddr(to)
	if err != nil {
		return nil, err
	}
	family, target := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Addr: [4]byte(address.AsSlice()), Port: EchoPort})
	if address.Is6() {
		family, target = unix.AF_INET6, &unix.SockaddrInet6{Addr: address.As16(), Port: EchoPort}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	limit := unix.NsecToTimeval(wait.Nanoseconds())
	if err := errors.Join(unix.Connect(fd, target), unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)); err != nil {
		return nil, err
	}
	buffer := make([]byte, 8)
	times := make([]time.Duration, count)
	for i := range times {
		start := time.Now()
		if _, err := unix.Write(fd, buffer); err != nil {
			return nil, err
		}
		for {
			if _, err = unix.Read(fd, buffer); !errors.Is(err, unix.EINTR) { // the runtime's own signals
				break
			}
		}
		if err != nil {
			return nil, fmt.Errorf("datagram %d of %d: %w", i+1, count, err)
		}
		times[i] = time.Since(start)
	}
	return times, nil
}
