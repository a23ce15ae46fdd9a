//go:build e2e

package cluster

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// The guide's commands for three zones and a slow PD leader do what it says between them.
func TestGuideThreeZones(t *testing.T) {
	ctx := onFaulted(t)
	const leader = "pd-1"
	theFaulted.setRoles(ctx, t, roles{leader, "tikv-2", "ticdc-1"})
	slowLeader := between([]string{leader}, nil, added)
	threeAZ := links{{"a", "b"}: time.Millisecond, {"a", "c"}: 2 * time.Millisecond, {"b", "c"}: 2 * time.Millisecond}
	changed := links{{"a", "b"}: 20 * time.Millisecond, {"a", "c"}: 40 * time.Millisecond, {"b", "c"}: 40 * time.Millisecond}

	g := readGuide(t, "Three zones, and a slow PD leader on top")
	g.provide(t, "manifests/examples/topology-three-az.yaml", readFile(t, filepath.Join(examples, "topology-three-az.yaml")))
	g.provide(t, "slow-pd-leader.yaml", g.yaml(t, "slow-pd-leader"))
	for i, after := range []func(){
		func() { theFaulted.wantMatrix(ctx, t, "three zones", threeAZ.of(dealt(3))) },
		func() {
			theFaulted.wantMatrix(ctx, t, "a slow PD leader on top", sum(threeAZ.of(dealt(3)), slowLeader))
			theFaulted.wantMeasured(ctx, t, "slow-pd-leader")
		},
		func() { theFaulted.wantMatrix(ctx, t, "other links", sum(changed.of(dealt(3)), slowLeader)) },
		func() { theFaulted.wantFlat(ctx, t, "both deleted") },
	} {
		g.run(ctx, t, i)
		after()
	}
	if len(g.steps) != 4 {
		t.Errorf("the guide has %d blocks of commands, of which 4 are tried", len(g.steps))
	}
}

// wantMeasured waits until agents have measured what a NetworkFault does, and some pods are
// right: on a busy machine others may be late.
func (w *world) wantMeasured(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	var f v1alpha1.NetworkFault
	err := w.poll(ctx, func(ctx context.Context) error {
		if err := w.Get(ctx, name, w.namespace, &f); err != nil {
			return err
		}
		if right, _, _ := strings.Cut(f.Status.Verified, "/"); right == "" || right == "0" {
			return errors.New("no pod is verified")
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v: %+v", err, f.Status)
	}
	t.Logf("verified at %s: %+v", f.Status.Verified, f.Status.Pairs)
}

// guide is a section of docs/guide.md, to be followed in a folder.
type guide struct {
	folder string
	// page is all of it.
	page string
	// steps are the section's blocks of commands.
	steps []string
}

var blocks = regexp.MustCompile("(?s)```([a-z]*)\n(.*?)```")

func readGuide(t *testing.T, title string) guide {
	t.Helper()
	g := guide{folder: t.TempDir(), page: readFile(t, "../../docs/guide.md")}
	_, section, found := strings.Cut(g.page, "\n## "+title+"\n")
	if !found {
		t.Fatalf("the guide has no section %q", title)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, block := range blocks.FindAllStringSubmatch(section, -1) {
		if block[1] == "" {
			g.steps = append(g.steps, block[2])
		}
	}
	return g
}

// yaml returns the object of a name that the guide has the reader write down.
func (g guide) yaml(t *testing.T, name string) string {
	t.Helper()
	for _, block := range blocks.FindAllStringSubmatch(g.page, -1) {
		if block[1] == "yaml" && strings.Contains(block[2], "\n  name: "+name+"\n") {
			return block[2]
		}
	}
	t.Fatalf("the guide has no object %s", name)
	return ""
}

// provide writes a file that the commands need, for the TidbCluster faulted.
func (g guide) provide(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(g.folder, name)
	text = strings.NewReplacer("cluster: basic\n", "cluster: "+faulted+"\n", "namespace: db\n", "namespace: "+theFaulted.namespace+"\n").Replace(text)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o750), os.WriteFile(file, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// run runs a block of commands, in the namespace of the TidbCluster faulted.
func (g guide) run(ctx context.Context, t *testing.T, step int) {
	t.Helper()
	if step >= len(g.steps) {
		t.Fatalf("the guide has %d blocks of commands, want one more", len(g.steps))
	}
	script := strings.ReplaceAll(g.steps[step], "kubectl -n db ", "kubectl -n "+theFaulted.namespace+" ")
	command := exec.CommandContext(ctx, "sh", "-ec", `kubectl() { "$KUBECTL" "$@"; }`+"\n"+script)
	command.Dir, command.Env = g.folder, append(os.Environ(), "KUBECTL="+kubectl)
	out, err := command.CombinedOutput()
	t.Logf("%s%s", script, out)
	if err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
