//go:build kernel

package kernel

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A flow is numbered UDP datagrams from one host to another.
type flow struct {
	from, to host
	// source and target are addresses of the two hosts; empty for their first
	// of the family that the other one or v6 says.
	source, target string
	v6             bool
	// port is the receiver's, local the sender's or 0 for any.
	port, local int
	count       int
	// burst datagrams leave every pace.
	burst int
	pace  time.Duration
	// size is that of the payload, at least header.
	size int
	// settle is how long to wait for what comes after the last was sent.
	settle time.Duration
	// unsummed leaves out UDP's checksum, so that corruption gets through.
	unsummed bool
	// flood looks at the clock once a burst only, to be as fast as can be. On
	// User Mode Linux that takes as long as sending does.
	flood bool
	// until ends the flow before its count, when closed.
	until <-chan struct{}
}

// header is number, time sent, checksum and the flow's identity at the start of
// each payload.
const header = 4 + 8 + 4 + 8

// udp is a flow that loses nothing in the lab without a fault, on User Mode
// Linux too.
func udp(from, to host, count int) flow {
	return flow{from: from, to: to, port: 7000, count: count, burst: 10, pace: 10 * time.Millisecond, size: 64, settle: 300 * time.Millisecond}
}

// arrival is one datagram that came in.
type arrival struct {
	number int
	// at counts from the start of the flow, delay from when this one was sent.
	at, delay time.Duration
}

// traffic is what became of a flow.
type traffic struct {
	sent     int
	arrivals []arrival // in the order in which they came
	// corrupt counts those whose payload was not what was sent.
	corrupt int
	// added is what the lab adds to a delay, where it was measured.
	added time.Duration
}

// run sends a flow and returns what came of it.
func (f flow) run(t testing.TB) traffic {
	t.Helper()
	got, err := f.start()()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// start sends a flow in the background; the returned function waits for its
// end. Once start returns, both ends are there.
func (f flow) start() func() (traffic, error) {
	f.source, f.target = f.ends()
	receiver, err := f.to.socket(f.target, f.port, false)
	if err != nil {
		return func() (traffic, error) { return traffic{}, fmt.Errorf("receive datagrams: %w", err) }
	}
	sender, err := f.from.socket(f.source, f.local, f.unsummed)
	if err != nil {
		err = errors.Join(err, receiver.Close())
		return func() (traffic, error) { return traffic{}, fmt.Errorf("send datagrams: %w", err) }
	}
	start := time.Now()
	received, sent := make(chan traffic, 1), make(chan error, 1)
	go func() { received <- receive(receiver, start, 2*f.count) }()
	var count int
	go func() {
		var err error
		count, err = f.send(sender, start)
		// The receiver ends by its deadline.
		sent <- errors.Join(err, receiver.SetReadDeadline(time.Now().Add(f.settle)))
	}()
	return func() (traffic, error) {
		err := <-sent
		got := <-received
		got.sent = count
		return got, errors.Join(err, sender.Close(), receiver.Close())
	}
}

// ends are the addresses that a flow goes between.
func (f flow) ends() (source, target string) {
	v6 := f.v6 || strings.Contains(f.source+f.target, ":")
	return cmp.Or(f.source, f.from.address(v6)), cmp.Or(f.target, f.to.address(v6))
}

// String names a flow by its ends.
func (f flow) String() string {
	source, target := f.ends()
	return fmt.Sprintf("the flow from %s (port %d) to %s port %d", source, f.local, target, f.port)
}

// send returns how many it sent.
func (f flow) send(conn *net.UDPConn, start time.Time) (int, error) {
	to := &net.UDPAddr{IP: net.ParseIP(f.target), Port: f.port}
	payload := make([]byte, max(f.size, header))
	var stamp time.Duration
	tick := time.NewTicker(f.pace)
	defer tick.Stop()
	for number := range f.count {
		if number%f.burst == 0 {
			select {
			case <-f.until: // never, when nil
				return number, nil
			case <-tick.C:
			}
		}
		binary.BigEndian.PutUint32(payload, uint32(number))
		if number%f.burst == 0 || !f.flood {
			stamp = time.Since(start)
		}
		binary.BigEndian.PutUint64(payload[4:], uint64(stamp))
		binary.BigEndian.PutUint64(payload[16:], uint64(start.UnixNano()))
		binary.BigEndian.PutUint32(payload[12:], checksum(payload))
		if _, err := conn.WriteToUDP(payload, to); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
			return number, fmt.Errorf("send datagram %d: %w", number, err)
		}
	}
	return f.count, nil
}

// checksum covers all of a payload but itself.
func checksum(payload []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(payload[:12]), crc32.IEEETable, payload[16:])
}

// receive reads until the socket's deadline, at most so many.
func receive(conn *net.UDPConn, start time.Time, most int) traffic {
	var got traffic
	buffer := make([]byte, 64<<10)
	for len(got.arrivals)+got.corrupt < most {
		n, _, err := conn.ReadFromUDP(buffer)
		at := time.Since(start)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			break
		}
		if err != nil {
			continue // an ICMP error about another packet
		}
		payload := buffer[:n]
		if n < header || binary.BigEndian.Uint32(payload[12:]) != checksum(payload) {
			got.corrupt++
			continue
		}
		if binary.BigEndian.Uint64(payload[16:]) != uint64(start.UnixNano()) {
			continue // left over from an earlier flow
		}
		sent := time.Duration(binary.BigEndian.Uint64(payload[4:]))
		got.arrivals = append(got.arrivals, arrival{int(binary.BigEndian.Uint32(payload)), at, at - sent})
	}
	return got
}

// socket has buffers that the kernel's default does not bound: the datagrams
// that wait in a fault are paid for by their sender.
func (h host) socket(ip string, port int, unsummed bool) (*net.UDPConn, error) {
	var conn *net.UDPConn
	err := h.inside(func() (err error) {
		conn, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip), Port: port})
		return err
	})
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	const memory = 32 << 20
	var set error
	err = raw.Control(func(fd uintptr) {
		set = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, memory),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, memory))
		if unsummed {
			set = errors.Join(set, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1))
		}
	})
	if err := errors.Join(err, set); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
