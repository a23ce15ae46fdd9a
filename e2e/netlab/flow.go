//go:build linux

package netlab

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Flow is numbered UDP datagrams from one host to another.
type Flow struct {
	From, To *Host
	// Source and Target are addresses of the two hosts; empty for their first of
	// the family that the other one or V6 says.
	Source, Target string
	V6             bool
	// Port is the receiver's, Local the sender's or 0 for any.
	Port, Local int
	Count       int
	// Burst datagrams leave every Pace. A Pace of 0 waits for nothing.
	Burst int
	Pace  time.Duration
	// Size is that of the payload, in bytes. It is at least flowHeader.
	Size int
	// Settle is how long to wait for datagrams after the last was sent.
	Settle time.Duration
	// Brief ends the flow as soon as all have been sent and as many have come. A
	// duplicate then shows as a loss: the datagram that is missing is not waited for.
	Brief bool
	// Unsummed omits UDP's checksum, so that corruption gets through.
	Unsummed bool
	// Flood reads the clock only once a burst, to send faster: under User Mode
	// Linux, reading it costs as much as sending.
	Flood bool
	// Stamped uses the kernel's time of arrival, which does not include the wait for
	// the CPU. It is the time at the interface. A delay that a packet meets later,
	// as in a netfilter queue of what arrives, is not in it.
	Stamped bool
	// Until ends the flow before its Count, when closed.
	Until <-chan struct{}
	// Sent is closed when the last datagram was sent, unless it is nil.
	Sent chan<- struct{}
}

// flowHeader is number, time sent, checksum and the flow's identity at the start
// of each payload.
const flowHeader = 4 + 8 + 4 + 8

// Run sends a flow and returns what came of it.
func (f Flow) Run(t testing.TB) Traffic {
	t.Helper()
	got, err := f.Start()()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Start sends a flow in the background; the returned function waits for its
// end. When Start returns, both sockets are open.
func (f Flow) Start() (wait func() (Traffic, error)) {
	failed := func(err error) func() (Traffic, error) {
		if f.Sent != nil {
			close(f.Sent)
		}
		return func() (Traffic, error) { return Traffic{}, fmt.Errorf("%s: %w", f, err) }
	}
	f.Source, f.Target = f.ends()
	receiving, err := f.To.socket(f.Target, f.Port, f.Stamped)
	if err != nil {
		return failed(fmt.Errorf("receive datagrams: %w", err))
	}
	f.Port = receiving.LocalAddr().(*net.UDPAddr).Port
	sender, err := f.From.socket(f.Source, f.Local, false)
	if err == nil && f.Unsummed {
		err = setOptions(sender, [][2]int{{unix.SO_NO_CHECK, 1}})
	}
	if err != nil {
		return failed(errors.Join(fmt.Errorf("send datagrams: %w", err), receiving.Close()))
	}
	start := time.Now()
	r := &receiver{conn: receiving, start: start, stamped: f.Stamped}
	r.most.Store(int64(2 * f.Count))
	received, sent := make(chan Traffic, 1), make(chan error, 1)
	go func() { received <- r.receive() }()
	var count int
	go func() {
		var err error
		count, err = f.send(sender, start)
		if f.Sent != nil {
			close(f.Sent)
		}
		settle := f.Settle
		if f.Brief {
			r.most.Store(int64(count)) // before came is read: the receiver reads them the other way
			if r.came.Load() >= int64(count) {
				settle = 0
			}
		}
		sent <- errors.Join(err, receiving.SetReadDeadline(time.Now().Add(settle)))
	}()
	return func() (Traffic, error) {
		err := <-sent
		got := <-received
		got.Sent = count
		return got, errors.Join(err, sender.Close(), receiving.Close())
	}
}

// ends are the addresses that a flow goes between.
func (f Flow) ends() (source, target string) {
	v6 := f.V6 || strings.Contains(f.Source+f.Target, ":")
	return cmp.Or(f.Source, f.From.Address(v6)), cmp.Or(f.Target, f.To.Address(v6))
}

// String names a flow by its ends.
func (f Flow) String() string {
	source, target := f.ends()
	return fmt.Sprintf("the flow from %s (port %d) to %s port %d", source, f.Local, target, f.Port)
}

// send returns how many it sent.
func (f Flow) send(conn *net.UDPConn, start time.Time) (int, error) {
	to := &net.UDPAddr{IP: net.ParseIP(f.Target), Port: f.Port}
	payload := make([]byte, max(f.Size, flowHeader))
	var stamp time.Duration
	var tick <-chan time.Time
	if f.Pace > 0 {
		ticker := time.NewTicker(f.Pace)
		defer ticker.Stop()
		tick = ticker.C
	}
	for number := range f.Count {
		if tick != nil && number%f.Burst == 0 {
			select {
			case <-f.Until: // never, when nil
				return number, nil
			case <-tick:
			}
		}
		binary.BigEndian.PutUint32(payload, uint32(number))
		if !f.Flood || number%f.Burst == 0 {
			stamp = time.Since(start)
		}
		binary.BigEndian.PutUint64(payload[4:], uint64(stamp))
		binary.BigEndian.PutUint64(payload[16:], uint64(start.UnixNano()))
		binary.BigEndian.PutUint32(payload[12:], checksum(payload))
		if _, err := conn.WriteToUDP(payload, to); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
			return number, fmt.Errorf("send datagram %d: %w", number, err)
		}
	}
	return f.Count, nil
}

// checksum covers all of a payload but itself.
func checksum(payload []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(payload[:12]), crc32.IEEETable, payload[16:])
}

// socket has buffers that the kernel's default does not bound: the datagrams
// that wait in a fault are paid for by their sender.
func (h *Host) socket(ip string, port int, stamped bool) (*net.UDPConn, error) {
	var conn *net.UDPConn
	err := h.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip), Port: port})
		return err
	})
	if err != nil {
		return nil, err
	}
	const memory = 64 << 20
	options := [][2]int{{unix.SO_RCVBUFFORCE, memory}, {unix.SO_SNDBUFFORCE, memory}}
	if stamped {
		options = append(options, [2]int{unix.SO_TIMESTAMPNS, 1})
	}
	if err := setOptions(conn, options); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// setOptions sets options of a socket, as pairs of name and value.
func setOptions(conn *net.UDPConn, options [][2]int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		for _, option := range options {
			set = errors.Join(set, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option[0], option[1]))
		}
	})
	return errors.Join(err, set)
}
