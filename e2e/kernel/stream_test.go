//go:build kernel

package kernel

import (
	"net"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
)

// A constant delay must not reorder: a timer for each packet does, and TCP
// falls to 2 Mbit/s.
func TestTCPStreamUnderDelay(t *testing.T) {
	const window = 2 * time.Second
	least := 200e6 // bit/s
	if engineName == "netem" {
		least = 20e6 // User Mode Linux has one slow CPU for both ends
	}
	a := startAgent(t)
	l := a.lab
	l.bystander.Listen(t, ":5001", netlab.Swallow)
	a.set("20ms")

	conn, err := l.pod.Dial(t.Context(), "tcp", net.JoinHostPort(l.bystander.IP, "5001"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	block := make([]byte, 256<<10)
	send := func(until time.Time) (sent int) {
		_ = conn.SetWriteDeadline(until)
		for {
			n, err := conn.Write(block)
			sent += n
			if err != nil {
				return sent
			}
		}
	}
	send(time.Now().Add(time.Second)) // the congestion window opens
	start := time.Now()
	sent := send(start.Add(window))
	rate := 8 * float64(sent) / time.Since(start).Seconds()
	t.Logf("one TCP stream under 20ms: %.0f Mbit/s", rate/1e6)
	if rate < least {
		t.Errorf("one TCP stream under 20ms carries %.0f Mbit/s, want at least %.0f", rate/1e6, least/1e6)
	}
}
