package httpapi

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxConnections is far more than kubelet, Prometheus, the controller and
	// people need, and with full buffers about 16 MiB.
	maxConnections = 128
	// socketBuffer bounds, in bytes, what the kernel keeps of what a client sends
	// before it is read, and of what it does not read: it counts as the
	// container's memory. The kernel doubles it.
	socketBuffer = 32 << 10
	// acceptPatience is how long a new connection waits for a place.
	acceptPatience = 2 * time.Second
)

// connections is a listener with a bounded number of connections.
type connections struct {
	net.Listener
	pool *pool
}

// Accept waits for a connection, which replaces another one if there are too
// many.
func (l connections) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err //nolint:wrapcheck // net/http looks for temporary errors
		}
		if tcp, ok := accepted.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(socketBuffer) // fails on closed connections only
			_ = tcp.SetWriteBuffer(socketBuffer)
		}
		c := &connection{Conn: accepted, pool: l.pool}
		c.member = l.pool.join(address(accepted.RemoteAddr().String()), acceptPatience, func() { _ = accepted.Close() })
		if c.member != nil {
			c.member.waitFirst()
			return c, nil
		}
		_ = accepted.Close()
	}
}

// connection knows whether it waits for its client.
type connection struct {
	net.Conn
	pool   *pool
	member *member
	// request is the place of the request under way, nil without one.
	request atomic.Pointer[member]
}

// Write sends a part of an answer. Meanwhile the client is what is waited for.
func (c *connection) Write(p []byte) (n int, err error) {
	send := func() { n, err = c.Conn.Write(p) }
	if request := c.request.Load(); request != nil {
		unread := c.unread
		request.unread.Store(&unread)
		c.member.unread.Store(&unread)
		c.member.sending(func() { request.sending(send) })
	} else {
		c.member.sending(send)
	}
	return n, err //nolint:wrapcheck // a net.Conn's errors
}

// unread says whether the client's kernel has yet to take a part of what was
// written (SIOCOUTQ in tcp(7)).
func (c *connection) unread() bool {
	tcp, ok := c.Conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return true
	}
	queued := 0
	var asked error
	err = raw.Control(func(fd uintptr) { queued, asked = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return err != nil || asked != nil || queued > 0
}

// Close ends the connection.
func (c *connection) Close() error {
	c.pool.leave(c.member)
	return c.Conn.Close() //nolint:wrapcheck // a net.Conn's errors
}

// works notes that a request was read and is being worked on, in a place of its
// own.
func (c *connection) works(place *member) {
	place.work()
	if c != nil {
		c.request.Store(place)
		c.member.work()
	}
}

// done notes that a request is over.
func (c *connection) done() {
	if c != nil {
		c.request.Store(nil)
		c.member.unread.Store(nil)
		c.member.wait()
	}
}

type connectionKey struct{}

func withConnection(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, c)
}

// connectionOf returns the connection of a request, nil where Serve did not
// accept it.
func connectionOf(ctx context.Context) *connection {
	c, _ := ctx.Value(connectionKey{}).(*connection)
	return c
}

// address returns the address of IP:PORT by which clients are told apart: an
// IPv6 host can have any address of its /64.
func address(remote string) netip.Addr {
	parsed, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	addr := parsed.Addr().Unmap().WithZone("")
	if addr.Is6() {
		return netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return addr
}
