//go:build e2e

package cluster

import (
	"context"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// signal stops the agents of members, or has them go on. One that is stopped is as good as dead:
// its port takes connections, and nobody answers. All go on when the script ends.
func (s script) signal(ctx context.Context, t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	name := map[string]string{"stop": "STOP", "go": "CONT"}[d.Cmd]
	for _, arg := range d.CmdArgs {
		pod := s.member(ctx, t, arg.Key)
		if d.Cmd == "stop" {
			t.Cleanup(func() { s.stops.send(context.WithoutCancel(ctx), t, "CONT", pod, agentName) })
		}
		s.stops.send(ctx, t, name, pod, agentName)
	}
	return ""
}
