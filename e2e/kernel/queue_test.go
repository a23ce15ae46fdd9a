//go:build kernel

package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// The queue before a link holds half a second, also of the large segments of TCP:
// what waits with them waits no longer.
func TestTheQueueOfALinkIsHalfASecond(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	l.bystander.Listen(t, ":5001", netlab.Swallow)
	l.pod.Listen(t, ":5001", netlab.Swallow)
	for _, c := range []struct {
		rate      string
		bits      float64
		streams   int // their initial windows of 10 frames (RFC 6928) fill the queue
		delay     string
		direction string
		from, to  *netlab.Host
		v6        bool
	}{
		{"500kbit", 500e3, 5, "", "egress", l.pod, l.bystander, false},
		{"1mbit", 1e6, 5, "", "egress", l.pod, l.bystander, true},
		{"1mbit", 1e6, 5, "", "ingress", l.bystander, l.pod, false},
		{"2mbit", 2e6, 12, "100ms", "egress", l.pod, l.bystander, false},
		{"10mbit", 10e6, 48, "", "egress", l.pod, l.bystander, false},
		{"10mbit", 10e6, 48, "", "ingress", l.bystander, l.pod, true},
	} {
		t.Run(c.rate+c.delay+" "+c.direction, func(t *testing.T) {
			a.t = t
			a.apply(api.Fault{Name: "link", Direction: c.direction, Delay: c.delay, Rate: &api.Rate{PerSecond: c.rate}})
			defer a.apply()
			to := c.to.IP
			if c.v6 {
				to = c.to.IP6
			}
			delay, _ := time.ParseDuration(c.delay)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, c.streams)
			for range c.streams {
				go func() { ended <- c.from.Stream(ctx, net.JoinHostPort(to, "5001")) }()
			}
			defer func() {
				cancel()
				for range c.streams {
					if err := <-ended; err != nil {
						t.Error(err)
					}
				}
			}()
			netlab.Eventually(t, 20*time.Second, "the queue is full", func() error {
				if a.fault("link").Counters.Dropped == 0 {
					return errors.New("nothing was dropped")
				}
				return nil
			})
			netlab.Retry(t, "ping beside the streams", func() error {
				got := c.from.Ping(t, to, 20, 200*time.Millisecond)
				if len(got.RTT) == 0 {
					return fmt.Errorf("no ping was answered: %s", got.Text)
				}
				most, frame := slices.Max(got.RTT), time.Duration(1514*8/c.bits*float64(time.Second))
				t.Logf("%d of %d answered, median %s, most %s", len(got.RTT), got.Sent, got.Median(), most)
				if limit := 500*time.Millisecond + delay + 2*frame + machine.Marking/2; most > limit || most < 150*time.Millisecond+delay {
					return fmt.Errorf("RTT of %s to %s, median %s; want at most %s, and a queue that is used", slices.Min(got.RTT), most, got.Median(), limit)
				}
				return nil
			})
		})
	}
}
