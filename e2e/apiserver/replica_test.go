//go:build apiserver

package apiserver

import (
	"context"
	"net"
	"testing"
)

// replica is a replica of the injector.
type replica struct {
	*process
	webhook string // where it serves the webhook
}

// startReplica starts a replica, with flags that the test adds. It returns before the
// replica is ready.
func (s *suite) startReplica(ctx context.Context, flags ...string) (*replica, error) {
	addresses, err := freeAddresses(1)
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addresses[0])
	p, err := s.startProcess(ctx, injectorName, append([]string{"--webhook-port=" + port}, flags...)...)
	if err != nil {
		return nil, err
	}
	return &replica{process: p, webhook: addresses[0]}, nil
}

// newReplica is startReplica for a test. The process ends with the test unless
// it has become world.injector.
func newReplica(t *testing.T, flags ...string) *replica {
	t.Helper()
	r, err := world.startReplica(t.Context(), flags...)
	must(t, err)
	t.Cleanup(func() {
		if r != world.injector {
			r.kill()
		}
	})
	return r
}

// lend has r serve in place of world.injector until the test ends.
func lend(t *testing.T, r *replica) {
	t.Helper()
	must(t, r.waitReady(t.Context()))
	lender := world.injector
	world.injector = r
	must(t, world.serveFrom(t.Context(), r))
	t.Cleanup(func() {
		world.injector = lender
		must(t, world.serveFrom(context.Background(), lender))
	})
}
