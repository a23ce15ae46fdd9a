package webhook

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

var update = flag.Bool("update", false, "rewrite testdata/*/out.yaml")

// TestGolden injects whole pods: testdata/CASE/in.yaml becomes out.yaml. The
// patch is applied to the raw object, as the API server does, so that what our
// Pod type does not know is seen to stay.
func TestGolden(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*/in.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, input := range inputs {
		t.Run(filepath.Base(filepath.Dir(input)), func(t *testing.T) {
			in := readFile(t, input)
			got := inject(t, in)

			output := filepath.Join(filepath.Dir(input), "out.yaml")
			if *update {
				if err := os.WriteFile(output, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(readFile(t, output), got); diff != "" {
				t.Errorf("pod (-want +got), run with -update if it is as it should be:\n%s", diff)
			}

			before, after := decode(t, in), decode(t, got)
			if last := after.Spec.Containers[len(after.Spec.Containers)-1].Name; last != ContainerName {
				t.Errorf("the last container is %s, want %s", last, ContainerName)
			}
			if guaranteed(before) != guaranteed(after) {
				t.Error("the pod's class of service changed")
			}
			again := testConfig.Decide(after, member(after), Facts{})
			if again.Reason != AlreadyInjected || len(again.Patch) != 0 {
				t.Errorf("a second time: %s with %d operations, want already_injected with none", again.Reason, len(again.Patch))
			}
			checkAnnotations(t, before, after)
		})
	}
}

// checkAnnotations holds what we add to what a start script that sources it can
// take.
func checkAnnotations(t *testing.T, before, after *corev1.Pod) {
	t.Helper()
	for key, value := range after.Annotations {
		old, had := before.Annotations[key]
		if had && old != value {
			t.Errorf("annotation %s changed from %q to %q", key, old, value)
		}
		if !had && (!strings.Contains(key, "/") || strings.ContainsAny(value, "$`\\\n")) {
			t.Errorf("annotation %s=%q is not safe to source in a shell", key, value)
		}
	}
	var status Status
	if err := json.Unmarshal([]byte(after.Annotations[StatusAnnotation]), &status); err != nil || status.Cluster != "basic" {
		t.Errorf("status annotation %q: %v", after.Annotations[StatusAnnotation], err)
	}
}

// member returns the membership that pod's component label claims.
func member(pod *corev1.Pod) tidbcluster.Membership {
	m := optedIn()
	m.Component = tidbcluster.Component(pod.Labels["app.kubernetes.io/component"])
	return m
}

// inject returns the pod in YAML with the agent added.
func inject(t *testing.T, in string) string {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	pod := decode(t, in)
	operations, err := json.Marshal(testConfig.Decide(pod, member(pod), Facts{}).Patch)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(operations)
	if err != nil {
		t.Fatal(err)
	}
	patched, err := patch.Apply(raw)
	if err != nil {
		t.Fatalf("apply %s: %v", operations, err)
	}
	out, err := yaml.JSONToYAML(patched)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func decode(t *testing.T, in string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	if err := yaml.Unmarshal([]byte(in), pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func diffObjects(a, b any) string { return cmp.Diff(a, b) }
