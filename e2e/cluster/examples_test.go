//go:build e2e

package cluster

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// examples are what is shipped to be applied to a TidbCluster that is called basic.
const examples = "../../manifests/examples"

// oneNode are the examples that find on one node without a zone what they can't start with.
var oneNode = map[string]told{}

// Every example that is shipped can be applied as it is, with the name of a TidbCluster that
// is there, is in force at all pods that it is for, and leaves nothing behind.
func TestExamples(t *testing.T) {
	ctx := onFaulted(t)
	files, err := filepath.Glob(filepath.Join(examples, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("examples in %s: %v, %v", examples, files, err)
	}
	for name := range oneNode {
		if _, err := os.Stat(filepath.Join(examples, name)); err != nil {
			t.Error(err)
		}
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			o := theFaulted.applyExample(ctx, t, file)
			want, waits := oneNode[name]
			if !waits {
				want = told{v1alpha1.Running, "Applied"}
			}
			theFaulted.wantTold(ctx, t, o.GetName(), o, want, func() (told, bool) {
				observed, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
				return told{v1alpha1.Phase(statusOf(o, "phase")), statusOf(o, "reason")}, observed == o.GetGeneration()
			})
			t.Logf("%s: %s %s: %s", statusOf(o, "what"), want.phase, statusOf(o, "applied"), statusOf(o, "message"))
			if have, all, _ := strings.Cut(statusOf(o, "applied"), "/"); !waits && (have == "" || have == "0" || have != all) {
				t.Errorf("applied at %s of %s pods, want all", have, all)
			}
			theFaulted.removeObject(ctx, t, o)
			theFaulted.wantNoFaults(ctx, t, faulted)
		})
	}
}

// applyExample applies an example to the TidbCluster faulted, and returns what to read it into.
func (w *world) applyExample(ctx context.Context, t *testing.T, file string) *unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(text, &o.Object); err != nil {
		t.Fatal(err)
	}
	const anybodys = "\n  cluster: basic\n"
	if !strings.Contains(string(text), anybodys) {
		t.Fatalf("%s has no line %q", file, strings.TrimSpace(anybodys))
	}
	o.SetNamespace(w.namespace)
	w.applyYAML(ctx, t, strings.Replace(string(text), anybodys, "\n  cluster: "+faulted+"\n", 1))
	return o
}

// statusOf returns a text in an object's status.
func statusOf(o *unstructured.Unstructured, field string) string {
	text, _, _ := unstructured.NestedString(o.Object, "status", field)
	return text
}
