//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// uninstallUnderFaults uninstalls Tidelay while two faults run, one of them until it is
// deleted. Objects, CRD and namespace are gone then, and nothing waits for a controller. What
// is still in force ends by itself: the one within its duration, which the test waits for,
// the other within the time that its agents have it for.
func (w *world) uninstallUnderFaults(ctx context.Context, t *testing.T, uninstall func() error) {
	t.Helper()
	short := w.runOn(ctx, t, abandoned, "short", `from: [tikv], to: [pd], rtt: 50ms, duration: 30s`)
	w.runOn(ctx, t, abandoned, "long", `from: [tidb], to: [pd], rtt: 50ms, untilDeleted: true`)
	shortly, long := between([]string{"tikv-0"}, []string{"pd-0"}, added), between([]string{"tidb-0"}, []string{"pd-0"}, added)
	w.wantMatrixOf(ctx, t, abandoned, settles, "before", sum(shortly, long))

	began := time.Now()
	if err := uninstall(); err != nil {
		t.Fatal(err)
	}
	ended := time.Now()
	t.Logf("uninstalled in %s", ended.Sub(began).Round(time.Second/10))
	for _, gone := range []string{"namespace/" + tidelayNamespace, "customresourcedefinition/networkfaults.tidelay.io", "customresourcedefinition/networktopologies.tidelay.io"} {
		out, err := exec.CommandContext(ctx, kubectl, "get", gone).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "NotFound") {
			t.Errorf("%s is still there: %v\n%s", gone, err, out)
		}
	}
	if found, err := w.matrix(ctx, abandoned, matrixPings); err != nil {
		t.Error(err)
	} else {
		// None, where the controller saw that the objects went before it went itself.
		t.Logf("right after that, tikv-0 to pd-0: %s, tidb-0 to pd-0: %s", inWords(found[pair{"pd-0", "tikv-0"}]), inWords(found[pair{"pd-0", "tidb-0"}]))
	}
	held, err := w.held(ctx, abandoned, members(abandoned))
	if err != nil {
		t.Fatal(err)
	}
	wantLeases(t, held, ended.Add(abandonedLease))
	left := max(0, time.Until(short.ExpiresAt.Time))
	const late = 15 * time.Second // measuring takes some on a busy machine, and the lease is longer
	w.wantMatrixOf(ctx, t, abandoned, left+late, "after its duration, without a controller", func(p pair) time.Duration {
		held, err := w.held(ctx, abandoned, []string{"tidb-0"})
		if err != nil || len(held) == 0 {
			return 0 // also this one has ended
		}
		return long(p)
	})
}

// wantLeases checks that none of the faults that agents hold lasts longer.
func wantLeases(t *testing.T, held map[string][]api.Fault, longest time.Time) {
	t.Helper()
	for member, faults := range held {
		for _, f := range faults {
			ends, err := time.Parse(time.RFC3339, f.ExpiresAt)
			if err != nil || ends.After(longest) {
				t.Errorf("the agent of %s holds %+v, want it to end before %s", member, f, longest)
			}
			t.Logf("the agent of %s holds fault %s for another %s", member, f.Name, time.Until(ends).Round(time.Second))
		}
	}
}

// runHelm runs Helm in Tidelay's namespace.
func runHelm(ctx context.Context, t *testing.T, verb string, args ...string) error {
	t.Helper()
	path, err := exec.CommandContext(ctx, filepath.Join("..", "..", "hack", "program.sh"), "helm").Output()
	if err != nil {
		return fmt.Errorf("find helm: %w", err)
	}
	args = append([]string{verb, "--kubeconfig", kubeconfig, "--namespace", tidelayNamespace}, args...)
	command := exec.CommandContext(ctx, strings.TrimSpace(string(path)), args...)
	for _, kind := range []string{"CACHE", "CONFIG", "DATA"} { // none of the user's
		command.Env = append(command.Environ(), "HELM_"+kind+"_HOME="+t.TempDir())
	}
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("helm %s: %w\n%s", verb, err, out)
	}
	return nil
}

// deleteNamespace deletes Tidelay's namespace, which Helm leaves, and waits for that.
func deleteNamespace(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, kubectl, "delete", "namespace", tidelayNamespace).CombinedOutput()
	if err != nil {
		return fmt.Errorf("delete namespace: %w\n%s", err, out)
	}
	return nil
}
