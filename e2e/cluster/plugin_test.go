//go:build e2e

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"mvdan.cc/sh/v3/shell"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// leaderOfScripts leads PD in all scripts.
const leaderOfScripts = "pd-1"

// TestPlugin follows the scripts of testdata/plugin, each from a TidbCluster without faults on.
//
//	run        runs the plugin with the rest as its arguments, and prints what it says and its
//	           exit status; as=USER with that user's rights
//	kubectl    the same of kubectl
//	effect     waits until all faults are in force and all pairs are as an effect (effects) says
//
// "TEST_ARGS='-run=TestPlugin -args -rewrite' make e2e" writes what is printed into the scripts.
func TestPlugin(t *testing.T) {
	ctx := onFaulted(t)
	theFaulted.setRoles(ctx, t, roles{leaderOfScripts, "tikv-2", "ticdc-1"})
	users := theFaulted.users(ctx, t)
	t.Cleanup(func() { theFaulted.clearByHand(context.Background(), t, "tikv-0") }) // rights.txt sets a fault past the controller
	files, err := filepath.Glob("testdata/plugin/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("scripts: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			start := time.Now()
			defer func() { t.Logf("took %s", time.Since(start).Round(time.Second/10)) }()
			defer theFaulted.removeAll(context.WithoutCancel(ctx), t, faulted)
			s := script{theFaulted, users}
			datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string { return s.obey(ctx, t, d) })
		})
	}
}

// script is what the directives of a script work with.
type script struct {
	*world
	users map[string]user
}

func (s script) obey(ctx context.Context, t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	switch d.Cmd {
	case "run", "kubectl":
		args, err := shell.Fields(d.Input, func(name string) string { return map[string]string{"NS": s.namespace}[name] })
		if err != nil {
			d.Fatalf(t, "parse: %v", err)
		}
		if d.Cmd == "run" {
			args = append([]string{"tidelay"}, args...)
		}
		as := user{kubeconfig}
		if arg, named := d.Arg("as"); named {
			as = s.users[arg.SingleVal(t)]
		}
		return s.normal(say(as.command(ctx, s.namespace, args...)))
	case "effect":
		wanted, known := effects[d.CmdArgs[0].Key]
		if !known {
			d.Fatalf(t, "no effect %s: want one of %v", d.CmdArgs[0], slices.Sorted(maps.Keys(effects)))
		}
		s.wantInForce(ctx, t)
		s.wantMatrix(ctx, t, d.CmdArgs[0].Key, wanted)
	default:
		d.Fatalf(t, "unknown directive %s", d.Cmd)
	}
	return ""
}

// The RTTs between zones of the profile three-az, and of testdata/plugin/zones.csv.
var (
	threeAZ  = links{{"a", "b"}: time.Millisecond, {"a", "c"}: 2 * time.Millisecond, {"b", "c"}: 2 * time.Millisecond}
	zonesCSV = links{{"a", "b"}: 60 * time.Millisecond, {"a", "c"}: 100 * time.Millisecond, {"b", "c"}: 30 * time.Millisecond}
)

// effects are what scripts want to be measured, by name.
var effects = map[string]wish{
	"none":             flat,
	"tikv-0+20ms":      slowTiKV(20 * time.Millisecond),
	"tikv-0+50ms":      slowTiKV(added),
	"tikv-0+80ms":      slowTiKV(80 * time.Millisecond),
	"leader+50ms":      between([]string{leaderOfScripts}, nil, added),
	"tidb-0-cut":       between([]string{"tidb-0"}, nil, cut),
	"pd-cut":           between([]string{"pd-0", "pd-1", "pd-2"}, []string{"pd-0", "pd-1", "pd-2"}, cut),
	"three-az":         threeAZ.of(dealt(3)),
	"three-az+leader":  sum(threeAZ.of(dealt(3)), between([]string{leaderOfScripts}, nil, added)),
	"zones.csv":        zonesCSV.of(dealt(3)),
	"zones.csv+tikv-0": sum(zonesCSV.of(dealt(3)), slowTiKV(added)),
}

// wantInForce waits until every agent has what the TidbCluster faulted has.
func (w *world) wantInForce(ctx context.Context, t *testing.T) {
	t.Helper()
	err := w.poll(ctx, func(ctx context.Context) error {
		var faults v1alpha1.NetworkFaultList
		var topologies v1alpha1.NetworkTopologyList
		if err := errors.Join(w.List(ctx, &faults), w.List(ctx, &topologies)); err != nil {
			return err
		}
		var waiting error
		check := func(o object, cluster string, life *v1alpha1.Life) {
			if cluster == faulted && (life.ObservedGeneration != o.GetGeneration() || life.Phase != v1alpha1.Running || life.Reason != "Applied") {
				waiting = errors.Join(waiting, fmt.Errorf("%s: %+v", o.GetName(), *life))
			}
		}
		for _, f := range faults.Items {
			check(&f, f.Spec.Cluster, &f.Status.Life)
		}
		for _, nt := range topologies.Items {
			check(&nt, nt.Spec.Cluster, &nt.Status.Life)
		}
		return waiting
	})
	if err != nil {
		t.Fatal(err)
	}
}

// say runs a command and returns what it printed and its exit status.
func say(command *exec.Cmd) string {
	var out, errOut bytes.Buffer
	command.Stdout, command.Stderr = &out, &errOut
	err := command.Run()
	text := out.String()
	if errOut.Len() > 0 {
		text += "--- standard error\n" + errOut.String()
	}
	if command.ProcessState == nil {
		return fmt.Sprintf("%s--- %v\n", text, err)
	}
	return fmt.Sprintf("%s--- exit status %d\n", text, command.ProcessState.ExitCode())
}

// What is another one in each run, and what stands for it.
var normals = []struct {
	what *regexp.Regexp
	as   string
}{
	// Of a row of status: how many are verified so far, and the time that is left.
	{regexp.MustCompile(`(?m)(Running +\d+/\d+) +(\d+/\d+|-) +\S+$`), "$1   VERIFIED   LEFT"},
	// What a busy machine was late with, which the tests measure themselves.
	{regexp.MustCompile(`\n\S+: .* asked for.*\n`), ""},
	{regexp.MustCompile(`at (\S+ )?\d\d:\d\d:\d\d UTC`), "at TIME"},
	// The engine is the kernel's, the version the build's, and other tests' TidbClusters may be there.
	{regexp.MustCompile(`\b(netem|nfqueue)\b`), "ENGINE"},
	{regexp.MustCompile(`answer: ENGINE, \S+, sidecar`), "answer: ENGINE, VERSION, sidecar"},
	{regexp.MustCompile(`(?m)^\d+ of \d+ agents hold`), "N of N agents hold"},
	{regexp.MustCompile(`-discovery-\w+-\w+`), "-discovery-POD"},
	// What PD says of stores.
	{regexp.MustCompile(`store \d+(, \d+ leaders?)?(, busiest)?`), "store"},
	// Of an agent's answer, all but the fault.
	{regexp.MustCompile(`(?m)^\{"fault":(null|\{[^}]*\}),.*\}`), "{\"fault\":$1}\n"},
	{regexp.MustCompile(`(\S) {2,}`), "$1   "},
}

// normal returns what was printed without what is another in each run.
func (w *world) normal(text string) string {
	text = strings.ReplaceAll(text, w.namespace, "NS")
	for _, n := range normals {
		text = n.what.ReplaceAllString(text, n.as)
	}
	return text
}
