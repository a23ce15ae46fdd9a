//go:build linux && kernel

package nfqueue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// device is the name of every pod's interface.
const device = "eth0"

// pod is a network namespace with a device and loopback.
type pod struct {
	name   string
	v4, v6 netip.Addr
}

// newPods returns two pods joined by a veth pair.
func newPods(t testing.TB) (here, there pod) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("kernel tests need root")
	}
	id := fmt.Sprintf("tidelay-%d-%d", os.Getpid(), time.Now().UnixNano())
	here = pod{id + "-a", netip.MustParseAddr("10.99.0.1"), netip.MustParseAddr("fd99::1")}
	there = pod{id + "-b", netip.MustParseAddr("10.99.0.2"), netip.MustParseAddr("fd99::2")}
	for _, p := range []pod{here, there} {
		command(t, "ip", "netns", "add", p.name)
		t.Cleanup(func() { command(t, "ip", "netns", "del", p.name) })
	}
	command(t, "ip", "link", "add", device, "netns", here.name, "type", "veth", "peer", "name", device, "netns", there.name)
	for _, p := range []pod{here, there} {
		p.ip(t, "addr", "add", p.v4.String()+"/24", "dev", device)
		p.ip(t, "addr", "add", p.v6.String()+"/64", "dev", device, "nodad")
		p.ip(t, "link", "set", "lo", "up")
		p.ip(t, "link", "set", device, "up")
	}
	// The kernel takes up to a second to use a link that came up.
	for _, to := range []netip.Addr{there.v4, there.v6} {
		here.exec(t, "ping", "-q", "-c", "1", "-i", "0.1", "-w", "5", to.String())
	}
	return here, there
}

func (p pod) ip(t testing.TB, words ...string) {
	t.Helper()
	command(t, slices.Concat([]string{"ip", "-n", p.name}, words)...)
}

// exec runs a command in the pod and returns what it prints.
func (p pod) exec(t testing.TB, words ...string) string {
	t.Helper()
	return command(t, slices.Concat([]string{"ip", "netns", "exec", p.name}, words)...)
}

func command(t testing.TB, words ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(words, " "), err, out, stderr.Bytes())
	}
	return string(out)
}

// in runs f on a thread of its own inside the pod and returns when f does.
func (p pod) in(t testing.TB, f func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and nobody else
		// finds himself in this namespace.
		runtime.LockOSThread()
		fd, err := unix.Open(filepath.Join("/run/netns", p.name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			_ = unix.Close(fd)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// udp opens a UDP socket in the pod that gives up waiting after a while.
func (p pod) udp(t testing.TB, addr netip.Addr, port int, patience time.Duration) int {
	t.Helper()
	family := unix.AF_INET
	if addr.Is6() {
		family = unix.AF_INET6
	}
	var fd int
	var err error
	p.in(t, func() { fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	if err := errors.Join(
		unix.Bind(fd, sockaddr(addr, port)),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 64<<20),
	); err != nil {
		t.Fatal(err)
	}
	return fd
}

func sockaddr(addr netip.Addr, port int) unix.Sockaddr {
	if addr.Is6() {
		return &unix.SockaddrInet6{Addr: addr.As16(), Port: port}
	}
	return &unix.SockaddrInet4{Addr: addr.As4(), Port: port}
}

// echo answers every datagram to echoPort of the pod until the test ends.
func (p pod) echo(t testing.TB, addr netip.Addr) {
	t.Helper()
	const patience = 50 * time.Millisecond
	fd := p.udp(t, addr, echoPort, patience)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		buffer := make([]byte, 2048)
		for {
			n, from, err := unix.Recvfrom(fd, buffer, 0)
			if err == nil {
				_ = unix.Sendto(fd, buffer[:n], 0, from)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-stopped })
}

// roundTrips measures count round trips of datagrams to an echo, one after the
// other, sorted. It blocks in system calls, because Go's poller would add more
// than what is to be measured.
func (p pod) roundTrips(t testing.TB, from, to netip.Addr, count int) []time.Duration {
	t.Helper()
	const patience = 5 * time.Second
	fd := p.udp(t, from, 0, patience)
	buffer := make([]byte, 8)
	times := make([]time.Duration, count)
	for i := range times {
		start := time.Now()
		send(t, fd, to, echoPort, buffer)
		if _, err := receive(fd, buffer); err != nil {
			t.Fatalf("echo %d of %d: %v", i+1, count, err)
		}
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return times
}

// receive waits for a datagram; the runtime's own signals don't end that.
func receive(fd int, buffer []byte) (int, error) {
	for {
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// listen opens a TCP listener in the pod.
func (p pod) listen(t testing.TB, addr netip.Addr, port int) net.Listener {
	t.Helper()
	var l net.Listener
	var err error
	p.in(t, func() { l, err = net.Listen("tcp", net.JoinHostPort(addr.String(), strconv.Itoa(port))) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// dial connects to a listener from the pod and says how long that took.
func (p pod) dial(t testing.TB, l net.Listener) (net.Conn, time.Duration) {
	t.Helper()
	var c net.Conn
	var err error
	var took time.Duration
	p.in(t, func() {
		start := time.Now()
		c, err = net.DialTimeout("tcp", l.Addr().String(), 10*time.Second)
		took = time.Since(start)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, took
}

// stream sends through one TCP connection for a while and returns how many
// bits a second arrived.
func (p pod) stream(t testing.TB, l net.Listener, length time.Duration) float64 {
	t.Helper()
	received := make(chan int64, 1)
	go func() {
		var n int64
		if c, err := l.Accept(); err == nil {
			n, _ = io.Copy(io.Discard, c)
		}
		received <- n
	}()
	c, _ := p.dial(t, l)
	start := time.Now()
	for block := make([]byte, 128<<10); time.Since(start) < length; {
		if _, err := c.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return float64(8*<-received) / time.Since(start).Seconds()
}

func send(t testing.TB, fd int, to netip.Addr, port int, datagram []byte) {
	t.Helper()
	if err := unix.Sendto(fd, datagram, 0, sockaddr(to, port)); err != nil {
		t.Fatal(err)
	}
}
