package verify

import (
	"cmp"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Task is a pair of pods to measure, or a fault of a pod whose counters are to be read.
type Task struct {
	Check
	// Objects are the names of the objects that the packets meet.
	Objects []string
	// Waits is set while an agent at either end was asked to hold something and has not
	// confirmed it. The pair is not measured then, and what is known of it stays.
	Waits bool
}

// Check is what a Task measures, and what is asked for. What is known of a Task is true as
// long as its Check is the same.
type Check struct {
	// From is the pod that measures, and To the one that answers; empty for counters.
	From, To string
	// Addr is To's address, and Port the TCP port; 0 for ping.
	Addr  netip.Addr
	Port  uint16
	Asked Asked
	// Counted is the fault of From whose counters are read; zero for a pair.
	Counted Counted
}

// Compare orders checks by the pods, and what is measured between them.
func (c *Check) Compare(other *Check) int {
	return cmp.Or(strings.Compare(c.From, other.From), strings.Compare(c.To, other.To), c.Addr.Compare(other.Addr),
		cmp.Compare(c.Port, other.Port), strings.Compare(c.Counted.Fault, other.Counted.Fault))
}

// IsCounted reports whether counters are read, and no pair is measured.
func (c *Check) IsCounted() bool { return c.Counted.Fault != "" }

// Asked is what faults add to a round trip.
type Asked struct {
	// RTT is added on average, and Spread is how much less or more it can be by chance.
	RTT, Spread time.Duration
	// Cut is whether nothing arrives.
	Cut bool
	// Lossy is whether some packets are lost, Rated whether packets wait for others, so that
	// no round trip is too long, and Reordered whether some packets are early.
	Lossy, Rated, Reordered bool
}

// least is what is added at least.
func (a Asked) least() time.Duration { return a.RTT - a.Spread }

const (
	// shortest is the least that can be told from none.
	shortest = time.Millisecond
	// longest is the longest round trip that is measured: an agent waits 10 s for an answer.
	longest = 6 * time.Second
)

// Measure returns what the agent of From is asked to measure: first the baseline, then the
// pair.
func (c *Check) Measure() api.Measure {
	target := c.Addr.String()
	if c.Port != 0 {
		target = netip.AddrPortFrom(c.Addr, c.Port).String()
	}
	return api.Measure{
		Targets: []string{netip.AddrPortFrom(c.Addr, api.Port).String(), target},
		Count:   c.samples(), Interval: "50ms", Timeout: c.timeout().String(),
	}
}

// samples is how many round trips are measured.
func (c *Check) samples() int {
	if c.Asked.RTT > time.Second || c.Asked.Cut {
		return 3
	}
	return 5
}

// timeout is how long to wait for one answer. A SYN that was lost is sent again after a
// second, so that its answer, a round trip later, is none that comes late.
func (c *Check) timeout() time.Duration {
	return 700*time.Millisecond + (c.Asked.RTT + c.Asked.Spread).Truncate(time.Millisecond)
}

// Longest returns how long the measurement takes if nobody answers; 0 for counters.
func (c *Check) Longest() time.Duration {
	if c.IsCounted() {
		return 0
	}
	return time.Duration(c.Measure().Count) * c.timeout()
}

// by says what was measured with, in words.
func (c *Check) by() string {
	if c.Port == 0 {
		return "ping"
	}
	return "TCP port " + strconv.Itoa(int(c.Port))
}
