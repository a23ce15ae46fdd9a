//go:build linux && kernel

package nfqueue

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

func TestKernelForeignTable(t *testing.T) {
	for name, foreign := range map[string]string{
		"a table":             "add table ip tidelay",
		"an IPv6 table":       "add table ip6 tidelay",
		"a chain":             "table ip tidelay { chain postrouting { type filter hook postrouting priority 0; }; }",
		"a rule in our chain": "table ip tidelay { chain postrouting { type filter hook postrouting priority 110; counter; }; }",
	} {
		t.Run(name, func(t *testing.T) {
			here, there := newPods(t)
			there.Echo(t, there.IP)
			here.Shell(t, "nft '"+foreign+"'")
			before := here.ruleset(t)
			a := here.start(t, fault.Exemption{})
			for _, f := range [][]api.Fault{{latency(20 * time.Millisecond)}, nil} {
				if err := a.tryApply(f...); err == nil || !strings.Contains(err.Error(), fault.ErrForeign.Error()) {
					t.Errorf("apply %d faults: %v, want %v", len(f), err, fault.ErrForeign)
				}
			}
			if diff := cmp.Diff(before, here.ruleset(t)); diff != "" {
				t.Errorf("rules were changed (-before +after)\n%s", diff)
			}
			wantRoundTrips(t, here, there, 0)
		})
	}
}

func TestKernelSecondAgent(t *testing.T) {
	here, _ := newPods(t)
	a := here.start(t, fault.Exemption{})
	a.set(20 * time.Millisecond)
	second := as(t, roleAgent, onlyNetAdmin)
	second.Env = append(second.Env, envExempt+"={}")
	if _, err := here.Run(second); err == nil || !strings.Contains(err.Error(), fault.ErrForeign.Error()) {
		t.Errorf("a second agent: %v", err)
	}
	a.counters(latency(20 * time.Millisecond)) // which it holds
}

func TestKernelProbe(t *testing.T) {
	here, _ := newPods(t)
	for name, c := range map[string]struct{ capabilities, want string }{
		"with NET_ADMIN":    {onlyNetAdmin, ""},
		"without NET_ADMIN": {"-net_admin", "NET_ADMIN"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := here.Run(as(t, roleProbe, c.capabilities))
			if (err != nil) != (c.want != "") || !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("probe: %v; want %q", err, c.want)
			}
			if rules := here.ruleset(t); rules != "" {
				t.Errorf("probe leaves\n%s", rules)
			}
		})
	}
}

// In a user namespace of its own a pod has NET_ADMIN there only, and sockets no
// more room than the system gives to all.
func TestKernelProbeInAUserNamespace(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--user", "--map-root-user", "--net", binary)
	cmd.Env = append(os.Environ(), envRole+"="+roleProbe)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("probe: %v\n%s", err, out)
	}
}
