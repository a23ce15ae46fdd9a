//go:build kernel

package kernel

import (
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
)

type flow = netlab.Flow

// udp is a flow that loses nothing in the lab without a fault, on User Mode
// Linux too.
func udp(from, to *netlab.Host, count int) flow {
	return flow{From: from, To: to, Port: 7000, Count: count, Burst: 10, Pace: 10 * time.Millisecond, Size: 64, Settle: 300 * time.Millisecond}
}
