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

// What others changed of our tables and chains is told, the next change puts it
// right, and the last end leaves nothing of it.
func TestKernelOthersSettings(t *testing.T) {
	both := func(command string) string {
		return fmt.Sprintf("nft '%s; %s'", fmt.Sprintf(command, "ip"), fmt.Sprintf(command, "ip6"))
	}
	for name, meddle := range map[string]string{
		"a dormant table":    both("add table %s tidelay { flags dormant; }"),
		"a policy, leaving":  both("chain %s tidelay postrouting { policy drop; }"),
		"a policy, arriving": both("chain %s tidelay prerouting { policy drop; }"),
	} {
		t.Run(name, func(t *testing.T) {
			here, there := newPods(t)
			there.Echo(t, there.IP)
			a := here.start(t, fault.Exemption{})
			late, other := latency(20*time.Millisecond), api.Fault{Name: "other", Peers: []string{"10.99.0.77"}, Delay: "1ms"}
			a.apply(late)
			before := here.ruleset(t)
			here.Shell(t, meddle)
			if state := a.state(late); len(state.Drift) == 0 || len(state.Found) > 0 {
				t.Errorf("the state is %+v", state)
			}
			a.apply(late, other)
			if state := a.state(late, other); len(state.Drift) > 0 || len(state.Found) != 2 {
				t.Errorf("after a change the state is %+v", state)
			}
			wantRoundTrips(t, here, there, 20*time.Millisecond)
			a.apply(late)
			if diff := cmp.Diff(before, here.ruleset(t)); diff != "" {
				t.Errorf("rules (-before +after)\n%s", diff)
			}
			here.Shell(t, meddle)
			a.apply()
			if rules := here.ruleset(t); rules != "" {
				t.Errorf("the end leaves\n%s", rules)
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
