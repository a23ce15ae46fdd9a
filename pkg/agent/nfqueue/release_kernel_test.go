//go:build linux && kernel

package nfqueue

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Many packets that leave at once are ten times as many as the next interface has
// room for (net.core.netdev_max_backlog). None is lost.
func TestKernelReleasesLoseNothing(t *testing.T) {
	const count = 10_000
	for _, jitter := range []string{"", "1ms"} {
		for _, end := range []string{"", "1ms"} {
			for _, direction := range []string{"egress", "ingress"} {
				t.Run(fmt.Sprintf("%s, jitter %q, then delay %q", direction, jitter, end), func(t *testing.T) {
					here, there := newPods(t)
					a := here.start(t, fault.Exemption{})
					waiting := api.Fault{Name: fault.Latency, Direction: direction, Delay: "600s", Jitter: jitter}
					a.apply(waiting)
					f := udp(here, there, count, 5*time.Second)
					if direction == "ingress" {
						f = udp(there, here, count, 5*time.Second)
					}
					f.V6 = jitter != ""
					wait := f.Start()
					netlab.Eventually(t, 20*time.Second, "all packets wait", func() error { return a.waiting(waiting, count) })
					var after []api.Fault
					if end != "" {
						after = []api.Fault{{Name: fault.Latency, Direction: direction, Delay: end, Jitter: jitter}}
					}
					start := time.Now()
					a.apply(after...)
					t.Logf("applied in %s", time.Since(start))
					got, err := wait()
					if err = errors.Join(err, got.Intact()); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}
