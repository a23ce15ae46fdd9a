//go:build linux

package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// receiver reads the datagrams of a flow.
type receiver struct {
	conn    *net.UDPConn
	start   time.Time
	stamped bool
	// came counts datagrams; the receiver ends when there are most.
	came, most atomic.Int64
}

// inSocket is how long the receiver waits for each datagram after its deadline.
const inSocket = 20 * time.Millisecond

// receive reads until the socket's deadline, or until as many came as can. What
// is in the socket by then is read too: a reader that is slow loses nothing.
func (r *receiver) receive() Traffic {
	var got Traffic
	buffer, control := make([]byte, 64<<10), make([]byte, 128)
	over := false
	for r.came.Load() < r.most.Load() {
		if over && r.conn.SetReadDeadline(time.Now().Add(inSocket)) != nil {
			break
		}
		n, controlled, _, _, err := r.conn.ReadMsgUDP(buffer, control)
		at := time.Since(r.start)
		if errors.Is(err, net.ErrClosed) {
			break
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if over {
				break
			}
			over = true
			continue
		}
		if err != nil {
			continue // an ICMP error about another packet
		}
		if r.stamped {
			if at, err = arrival(control[:controlled], r.start); err != nil {
				continue // then it counts as lost
			}
		}
		payload := buffer[:n]
		if n < flowHeader || binary.BigEndian.Uint32(payload[12:]) != checksum(payload) {
			got.Corrupt++
			r.came.Add(1)
			continue
		}
		if binary.BigEndian.Uint64(payload[16:]) != uint64(r.start.UnixNano()) {
			continue // left over from an earlier flow
		}
		sent := time.Duration(binary.BigEndian.Uint64(payload[4:]))
		got.Arrivals = append(got.Arrivals, Arrival{int(binary.BigEndian.Uint32(payload)), at, at - sent})
		r.came.Add(1)
	}
	return got
}

// arrival is the kernel's time of a datagram, from the start of its flow.
func arrival(control []byte, start time.Time) (time.Duration, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0, fmt.Errorf("parse control messages: %w", err)
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
			seconds, nanoseconds := binary.NativeEndian.Uint64(m.Data), binary.NativeEndian.Uint64(m.Data[8:])
			return time.Duration(int64(seconds)*int64(time.Second) + int64(nanoseconds) - start.UnixNano()), nil
		}
	}
	return 0, errors.New("a datagram without the time of its arrival")
}
