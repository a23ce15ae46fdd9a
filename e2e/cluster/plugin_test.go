//go:build e2e

package cluster

import (
	"bytes"
	"context"
	"encoding/json"
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
// "TEST_ARGS='-run=TestPlugin -args -rewrite' make e2e" writes what is printed into the scripts.
func TestPlugin(t *testing.T) {
	ctx := onFaulted(t, needs(theController), needs(theInjector)) // explain shows the injector's settings
	theFaulted.setRoles(ctx, t, roles{leaderOfScripts, "tikv-2", "ticdc-1"})
	s := newScript(t, theFaulted, faulted)
	s.users = theFaulted.users(ctx, t)
	pods, err := theFaulted.membersOf(ctx, faulted)
	if err != nil {
		t.Fatal(err)
	}
	s.stops = theFaulted.signaller(ctx, t, pods...)
	t.Cleanup(func() { theFaulted.clearByHand(context.Background(), t, "tikv-0") }) // rights.txt sets a fault past the controller
	files, err := filepath.Glob("testdata/plugin/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("scripts: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			defer theFaulted.removeAll(context.WithoutCancel(ctx), t, faulted)
			s.follow(ctx, t, file)
		})
	}
}

// script is what the directives of a script work with:
//
//	run        runs the plugin with the rest as its arguments, and prints what it says and its
//	           exit status; as=USER with that user's rights, within=TIME or it is killed
//	kubectl    the same of kubectl
//	waits      runs the plugin until it has measured as asked for, which a busy machine can be
//	           late for, and prints what it says of that
//	effect     waits until all faults are in force and all pairs are as an effect (effects) says
//	matrix     waits until agents have measured what an effect says; by=zone or by=component
//	heatmap    reads a file that matrix has written, and prints how many pairs it shows
//	uids       prints whether explain of a pod has the UIDs of the API server, and what its agent
//	           holds
//	preview    prints what preview says of workloads, and whether running pods are like that
//	stop, go   stops the agents of some members, and has them go on
type script struct {
	*world
	cluster string
	users   map[string]user
	stops   signaller
	// variables stand for what is another in each run: $NS is the namespace, and $TMP a folder.
	variables map[string]string
}

func newScript(t *testing.T, w *world, cluster string) script {
	return script{world: w, cluster: cluster, variables: map[string]string{"NS": w.namespace, "TMP": t.TempDir()}}
}

func (s script) follow(ctx context.Context, t *testing.T, file string) {
	t.Helper()
	start := time.Now()
	defer func() { t.Logf("took %s", time.Since(start).Round(time.Second/10)) }()
	directives := map[string]func(context.Context, *testing.T, *datadriven.TestData) string{
		"run": s.run, "kubectl": s.run, "waits": s.waits, "effect": s.effect, "matrix": s.measured, "heatmap": s.heatmap,
		"uids": s.uids, "preview": s.preview, "stop": s.signal, "go": s.signal,
	}
	datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
		obey, known := directives[d.Cmd]
		if !known {
			d.Fatalf(t, "unknown directive %s", d.Cmd)
		}
		return obey(ctx, t, d)
	})
}

// run runs the plugin or kubectl.
func (s script) run(ctx context.Context, t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	if arg, limited := d.Arg("within"); limited {
		limit, err := time.ParseDuration(arg.SingleVal(t))
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	return s.normal(say(s.command(ctx, t, d)))
}

// command returns what a directive runs.
func (s script) command(ctx context.Context, t *testing.T, d *datadriven.TestData) *exec.Cmd {
	t.Helper()
	args, err := shell.Fields(d.Input, func(name string) string { return s.variables[name] })
	if err != nil {
		d.Fatalf(t, "parse: %v", err)
	}
	if d.Cmd != "kubectl" {
		args = append([]string{"tidelay"}, args...)
	}
	as := user{kubeconfig}
	if arg, named := d.Arg("as"); named {
		known := false
		if as, known = s.users[arg.SingleVal(t)]; !known {
			d.Fatalf(t, "no user %s", arg)
		}
	}
	return as.command(ctx, s.namespace, args...)
}

// json runs the plugin, and decodes what it prints.
func (s script) json(ctx context.Context, into any, args ...string) error {
	out, err := user{kubeconfig}.command(ctx, s.namespace, append([]string{"tidelay"}, args...)...).Output()
	if err == nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		return fmt.Errorf("%v: %w\n%s", args, err, out)
	}
	return nil
}

func (s script) waits(ctx context.Context, t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	verified := regexp.MustCompile(`(?m)^measured as asked for at \d+/\d+ pods\n`)
	var found string
	err := s.poll(ctx, func(ctx context.Context) error {
		text := say(s.command(ctx, t, d))
		if found = verified.FindString(text); found == "" {
			return fmt.Errorf("it was not measured as asked for:\n%s", text)
		}
		return nil
	})
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	return found
}

func (s script) effect(ctx context.Context, t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	wanted := wishOf(t, d)
	s.wantInForce(ctx, t)
	s.wantMatrix(ctx, t, d.CmdArgs[0].Key, wanted)
	return ""
}

// wishOf returns the effect that a directive names first.
func wishOf(t *testing.T, d *datadriven.TestData) wish {
	t.Helper()
	wanted, known := effects[d.CmdArgs[0].Key]
	if !known {
		d.Fatalf(t, "no effect %s: want one of %v", d.CmdArgs[0], slices.Sorted(maps.Keys(effects)))
	}
	return wanted
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
	"tidb-tikv+50ms":   between([]string{"tidb-0", "tidb-1"}, []string{"tikv-0", "tikv-1", "tikv-2"}, added),
	"tikv-0-pd-1+50ms": between([]string{"tikv-0"}, []string{"pd-1"}, added),
	"tikv-0+50ms":      slowTiKV(added),
	"tikv-0+80ms":      slowTiKV(80 * time.Millisecond),
	"leader+50ms":      between([]string{leaderOfScripts}, nil, added),
	"tidb-0-cut":       between([]string{"tidb-0"}, nil, cut),
	"tikv-halves":      between([]string{"tikv-0"}, []string{"tikv-1", "tikv-2"}, cut),
	"ring": sum( // of tidb-0, tidb-1, tikv-0, tikv-1, tikv-2
		between([]string{"tidb-0"}, []string{"tikv-0", "tikv-1"}, cut),
		between([]string{"tidb-1"}, []string{"tikv-1", "tikv-2"}, cut),
		between([]string{"tikv-0"}, []string{"tikv-2"}, cut)),
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
