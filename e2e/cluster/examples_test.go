//go:build e2e

package cluster

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// examples are for a TidbCluster that is called basic.
const examples = "../../manifests/examples"

// onOneNode is the example that can't start here: its zones are a label of the nodes, of which
// one is not enough.
const onOneNode = "topology-two-region.yaml"

// Every example can be applied as it is, but for the name of the TidbCluster, is in force at
// all pods that it is for, and leaves nothing behind.
func TestExamples(t *testing.T) {
	ctx := onFaulted(t)
	theFaulted.setRoles(ctx, t, roles{"pd-1", "tikv-2", "ticdc-1"}) // one of them cuts pd-0 off from the leader
	files, err := filepath.Glob(filepath.Join(examples, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("examples in %s: %v, %v", examples, files, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			o, life := theFaulted.applyExample(ctx, t, file)
			defer func() {
				theFaulted.removeObject(ctx, t, o)
				theFaulted.wantNoFaults(ctx, t, faulted)
			}()
			if name == onOneNode {
				theFaulted.wantLife(ctx, t, o.GetName(), o, life, v1alpha1.Pending, "NoZones")
				t.Logf("waits: %s", life.Message)
				return
			}
			theFaulted.wantLife(ctx, t, o.GetName(), o, life, v1alpha1.Running, "Applied")
			t.Logf("%s, applied at %s: %s", life.What, life.Applied, life.Message)
			if have, all, _ := strings.Cut(life.Applied, "/"); have != all || all == "0" {
				t.Errorf("applied at %s, want all pods that it is for", life.Applied)
			}
		})
	}
}

// applyExample applies an example to the TidbCluster faulted. It returns what to read it into,
// and where its life is in that.
func (w *world) applyExample(ctx context.Context, t *testing.T, file string) (object, *v1alpha1.Life) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const anybodys = "\n  cluster: basic\n"
	if strings.Count(string(text), anybodys) != 1 {
		t.Fatalf("%s is not for one TidbCluster that is called basic", file)
	}
	w.applyYAML(ctx, t, strings.Replace(string(text), anybodys, "\n  cluster: "+faulted+"\n", 1))
	var made struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
	}
	if err := yaml.Unmarshal(text, &made); err != nil {
		t.Fatal(err)
	}
	if made.Kind == "NetworkTopology" {
		nt := &v1alpha1.NetworkTopology{ObjectMeta: w.named(made.Name)}
		return nt, &nt.Status.Life
	}
	f := &v1alpha1.NetworkFault{ObjectMeta: w.named(made.Name)}
	return f, &f.Status.Life
}
