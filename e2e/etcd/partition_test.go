//go:build kernel

package etcd

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
)

// A leader that is cut off under load, in both directions or in one, is replaced:
// the others take writes, it acknowledges none, and its agent answers. begin sees
// to it that nothing acknowledged is lost.
func TestALeaderThatIsCutOffIsReplaced(t *testing.T) {
	for _, direction := range []string{"both", "egress", "ingress"} {
		t.Run(direction, func(t *testing.T) {
			c, w := begin(t)
			old, others := c.leader(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			load := w.load(ctx, c.members...)
			w.wantMore(t, 10)

			old.agent.set(t, cut(direction, others...))
			start := time.Now()
			alone := make(chan error, 1)
			go func() {
				_, err := w.put(old, writeTimeout)
				alone <- err
			}()
			cancel()
			// A write that no leader takes is not tried again by etcd.
			const try = 2 * time.Second
			netlab.Eventually(t, electing, "a write through the others", func() error {
				_, err := w.put(others[0], try)
				return err
			})
			t.Logf("a write through %s succeeds %s after the cut", others[0].host.Name, time.Since(start).Round(time.Millisecond))
			netlab.Eventually(t, electing, "another leader", func() error {
				now, _, err := c.split(others)
				if err == nil && now == old {
					err = fmt.Errorf("it still is %s", old.host.Name)
				}
				return err
			})

			if err := <-alone; err == nil {
				t.Errorf("%s acknowledges a write while it is alone", old.host.Name)
			}
			load.Wait()
			if f := old.agent.wantHeld(t, 1)[0]; f.Counters.Dropped == 0 {
				t.Errorf("the cut dropped nothing: %+v", f)
			}
		})
	}
}
