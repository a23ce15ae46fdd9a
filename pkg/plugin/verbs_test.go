package plugin_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"mvdan.cc/sh/v3/shell"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// TestVerbs runs the scripts of testdata, each in a world of its own. "run" runs the plugin
// and prints its exit status, its output and what is on standard error; "objects" prints what
// is on the API server. The other commands change the world. "go test -rewrite" writes what
// is printed into the scripts.
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

func (w *world) obey(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	var name string
	switch d.Cmd {
	case "run":
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
	case "objects":
		return w.names()
	case "forbid":
		for _, arg := range d.CmdArgs {
			w.forbidden[arg.Key] = true
		}
	case "unknown":
		for _, arg := range d.CmdArgs {
			w.unknown[arg.Key] = true
		}
	case "push", "hand", "agent", "missed", "lease", "kill", "age":
		w.obeyAgents(t, d)
	case "start":
		var minutes int
		d.ScanArgs(t, "name", &name)
		d.ScanArgs(t, "minutes", &minutes)
		w.start(name, time.Duration(minutes)*time.Minute)
	case "end":
		d.ScanArgs(t, "name", &name)
		f := w.fault(name)
		f.Status.Phase = v1alpha1.Ended
		w.write(f)
	case "annotate":
		tc := w.cluster()
		for _, arg := range d.CmdArgs {
			tc.Annotations["tidelay.io/"+arg.Key] = arg.Vals[0]
		}
		if err := w.Update(t.Context(), tc); err != nil {
			t.Fatal(err)
		}
	case "install":
		for _, arg := range d.CmdArgs {
			w.install(arg.Key, arg.Vals[0])
		}
	case "unsynced":
		tc := w.cluster()
		tc.Status.PD.Synced = false
		w.write(tc)
	default:
		return w.change(t, d)
	}
	return ""
}
