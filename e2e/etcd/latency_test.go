//go:build kernel

package etcd

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
)

// delay is long beside what the machine adds to a write, and a round trip of it
// is short beside an election time-out. An emulated CPU adds about 0.1 s.
var delay = 2 * netlab.ThisMachine().Jitter

// A write needs the leader and one more member: through the leader it takes one
// round trip between them longer, through a follower two. A quorum does without
// one slow member.
func TestWritesTakeTheInjectedRoundTrips(t *testing.T) {
	needsSpeed(t)
	c, w := begin(t)
	for _, m := range c.members {
		m.host.Echo(t, m.host.IP)
	}
	netlab.Retry(t, "writes under a delay", func() error {
		leader, followers := c.leader(t)
		leader.agent.set(t)
		before, beforeFollower := w.median(t, leader), w.median(t, followers[0])

		leader.agent.set(t, slow(delay, followers...))
		roundTrip := netlab.Median(leader.host.RoundTrips(t, followers[0].host.IP, 21))
		through, follower := w.median(t, leader)-before, w.median(t, followers[0])-beforeFollower

		leader.agent.set(t, slow(delay, followers[0]))
		quorum := w.median(t, leader) - before
		t.Logf("the round trip is %s; a write takes %s and %s more through the leader, %s and %s more through a follower, %s more with one slow follower",
			roundTrip, before, through, beforeFollower, follower, quorum)
		return errors.Join(
			wantRatio("a datagram's round trip", roundTrip, 2*delay, 1, 1.5),
			wantRatio("through the leader", through, roundTrip, 0.9, 1.6),
			wantRatio("through a follower", follower, roundTrip, 1.8, 3.2),
			wantRatio("with one slow follower", quorum, roundTrip, -0.25, 0.25))
	})
	if err := w.failure(); err != nil {
		t.Error(err)
	}
}

// wantRatio wants a time to be between two multiples of its control.
func wantRatio(what string, got, control time.Duration, least, most float64) error {
	if ratio := got.Seconds() / control.Seconds(); ratio < least || ratio > most {
		return fmt.Errorf("%s: %s is %.2f of %s, want %.2f to %.2f", what, got, ratio, control, least, most)
	}
	return nil
}
