package plugin_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"mvdan.cc/sh/v3/shell"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// TestVerbs runs the scripts of testdata, each in a world of its own: the commands of prints and
// of changes. "go test -rewrite" writes what is printed into the scripts.
func TestVerbs(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("scripts: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			w := newWorld(t)
			datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string { return w.obey(t, d) })
		})
	}
}

// prints are the commands of scripts that print something.
func prints() map[string]func(*world, *testing.T, *datadriven.TestData) string {
	return map[string]func(*world, *testing.T, *datadriven.TestData) string{
		"run":      (*world).obeyRun,
		"objects":  func(w *world, _ *testing.T, _ *datadriven.TestData) string { return w.names() },
		"attached": (*world).obeyAttached,
	}
}

// changes are the commands of scripts that change the world.
func changes() map[string]func(*world, *testing.T, *datadriven.TestData) {
	return map[string]func(*world, *testing.T, *datadriven.TestData){
		// What the API server lets people do, and has.
		"forbid":          func(w *world, _ *testing.T, d *datadriven.TestData) { mark(w.forbidden, d) },
		"unknown":         func(w *world, _ *testing.T, d *datadriven.TestData) { mark(w.unknown, d) },
		"put":             (*world).obeyPut,
		"patch":           (*world).obeyPatch,
		"delete":          (*world).obeyDelete,
		"label-namespace": (*world).obeyLabelNamespace,
		"install":         (*world).obeyInstall,
		"refuse-create":   (*world).obeyRefuseCreate,
		"injector":        func(w *world, _ *testing.T, d *datadriven.TestData) { w.installInjector(d.Input) },
		// What the operator and the controller write.
		"annotate":  (*world).obeyAnnotate,
		"elsewhere": (*world).obeyElsewhere,
		"unsynced":  (*world).obeyUnsynced,
		"start":     (*world).obeyStart,
		"end":       (*world).obeyEnd,
		"age":       (*world).obeyAge,
		"missed":    (*world).obeyMissed,
		"lease":     (*world).obeyLease,
		// How pods and their agents are.
		"pod":           (*world).obeyPod,
		"bare":          (*world).obeyBare,
		"kill":          (*world).obeyKill,
		"kubelet":       (*world).obeyKubelet,
		"push":          func(w *world, _ *testing.T, _ *datadriven.TestData) { w.push() },
		"hand":          (*world).obeyHand,
		"agent":         (*world).obeyAgent,
		"answer":        (*world).obeyAnswer,
		"refuse-attach": (*world).obeyRefuseAttach,
	}
}

// obey obeys a command of a script, and returns what it prints.
func (w *world) obey(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	if print, is := prints()[d.Cmd]; is {
		return print(w, t, d)
	}
	change, is := changes()[d.Cmd]
	if !is {
		d.Fatalf(t, "unknown command %s", d.Cmd)
	}
	change(w, t, d)
	return ""
}

// obeyRun runs the plugin, and returns what it prints on its output and on standard error, and
// its exit status.
func (w *world) obeyRun(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	args, err := shell.Fields(d.Input, func(string) string { return "" })
	if err != nil {
		d.Fatalf(t, "parse: %v", err)
	}
	status := w.run(t.Context(), args...)
	text := w.out.String()
	if said := w.errOut.String(); said != "" {
		text += "--- standard error\n" + said
	}
	return text + fmt.Sprintf("--- exit status %d\n", status)
}

// mark marks kinds.
func mark(kinds map[string]bool, d *datadriven.TestData) {
	for _, arg := range d.CmdArgs {
		kinds[arg.Key] = true
	}
}

// obeyInstall installs programs, each with an image.
func (w *world) obeyInstall(_ *testing.T, d *datadriven.TestData) {
	for _, arg := range d.CmdArgs {
		w.install(arg.Key, arg.Vals[0])
	}
}

// obeyAnnotate annotates the TidbCluster.
func (w *world) obeyAnnotate(t *testing.T, d *datadriven.TestData) {
	t.Helper()
	tc := w.cluster()
	for _, arg := range d.CmdArgs {
		tc.Annotations["tidelay.io/"+arg.Key] = arg.Vals[0]
	}
	if err := w.Update(t.Context(), tc); err != nil {
		t.Fatal(err)
	}
}

// obeyElsewhere has namespaces have a TidbCluster of that name too.
func (w *world) obeyElsewhere(t *testing.T, d *datadriven.TestData) {
	t.Helper()
	for _, arg := range d.CmdArgs {
		if err := w.Create(t.Context(), &tcv1alpha1.TidbCluster{ObjectMeta: metav1.ObjectMeta{Namespace: arg.Key, Name: "basic"}}); err != nil {
			t.Fatal(err)
		}
	}
}

// obeyUnsynced has the operator not know PD's roles.
func (w *world) obeyUnsynced(*testing.T, *datadriven.TestData) {
	tc := w.cluster()
	tc.Status.PD.Synced = false
	w.write(tc)
}

// obeyStart has a fault be in force since some minutes.
func (w *world) obeyStart(t *testing.T, d *datadriven.TestData) {
	t.Helper()
	var name string
	var minutes int
	d.ScanArgs(t, "name", &name)
	d.ScanArgs(t, "minutes", &minutes)
	w.start(name, time.Duration(minutes)*time.Minute)
}

// obeyEnd has a fault have ended.
func (w *world) obeyEnd(t *testing.T, d *datadriven.TestData) {
	t.Helper()
	var name string
	d.ScanArgs(t, "name", &name)
	f := w.fault(name)
	f.Status.Phase = v1alpha1.Ended
	w.write(f)
}

// obeyAge makes a fault older.
func (w *world) obeyAge(t *testing.T, d *datadriven.TestData) {
	t.Helper()
	var name string
	var minutes int
	d.ScanArgs(t, "name", &name)
	d.ScanArgs(t, "minutes", &minutes)
	f := w.fault(name)
	f.CreationTimestamp = metav1.NewTime(w.now.Add(-time.Duration(minutes) * time.Minute))
	if err := w.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}
