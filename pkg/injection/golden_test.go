package injection

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

var update = flag.Bool("update", false, "rewrite the injected pods in testdata")

// captured are the pods of TiDB Operator, one of each component, that
// hack/capture.sh wrote down: their containers without the agent, and the ports
// that kubelet probes. No flag rewrites it.
var captured = map[tidbcluster.Component]struct {
	containers []string
	probePorts string
}{
	tidbcluster.Discovery:  {containers: []string{"discovery"}},
	tidbcluster.PD:         {containers: []string{"pd"}},
	tidbcluster.Pump:       {containers: []string{"pump"}, probePorts: "8250"},
	tidbcluster.Scheduling: {containers: []string{"scheduling"}},
	tidbcluster.TiCDC:      {containers: []string{"ticdc"}},
	tidbcluster.TiDB:       {containers: []string{"slowlog", "tidb"}, probePorts: "4000"},
	tidbcluster.TiFlash:    {containers: []string{"tiflash", "serverlog", "errorlog", "clusterlog"}},
	tidbcluster.TiKV:       {containers: []string{"tikv"}},
	tidbcluster.TiProxy:    {containers: []string{"tiproxy"}},
	tidbcluster.TSO:        {containers: []string{"tso"}},
}

// TestGolden injects whole pods: testdata/CASE/in.yaml turns into out.yaml. The
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
			checkGolden(t, output, got)

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
			checkOlderAgent(t, after)
			checkRemoval(t, before, after)
			checkAnnotations(t, before, after)
			if diff := cmp.Diff(object(t, in), without(object(t, got), object(t, in))); diff != "" {
				t.Errorf("without what was added (-in.yaml +out.yaml):\n%s", diff)
			}
		})
	}
}

// checkGolden compares got with a file, or with -update writes it.
func checkGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(readFile(t, path), got); diff != "" {
		t.Errorf("pod (-want +got), run with -update if it is as it should be:\n%s", diff)
	}
}

// Every component's pod is injected as it should be, whatever out.yaml says.
func TestGoldenComponents(t *testing.T) {
	for _, component := range tidbcluster.Components() {
		t.Run(string(component), func(t *testing.T) {
			want, ok := captured[component]
			if !ok {
				t.Fatal("hack/capture.sh does not take this component's pod")
			}
			out := decode(t, readFile(t, filepath.Join("testdata", string(component), "out.yaml")))
			if got := out.Labels["app.kubernetes.io/component"]; got != string(component) {
				t.Errorf("the pod is one of %q", got)
			}
			if got := out.Annotations[DefaultContainerAnnotation]; got != string(component) {
				t.Errorf("the default container is %q, want the database's", got)
			}
			names, agent := []string{}, corev1.Container{}
			for _, c := range out.Spec.Containers {
				names, agent = append(names, c.Name), c
			}
			if diff := cmp.Diff(append(slices.Clone(want.containers), ContainerName), names); diff != "" {
				t.Fatalf("containers (-want +got):\n%s", diff)
			}
			env := map[string]string{}
			for _, e := range agent.Env {
				env[e.Name] = e.Value
				if e.ValueFrom != nil {
					env[e.Name] = e.ValueFrom.FieldRef.FieldPath
				}
			}
			if env["PROBE_PORTS"] != want.probePorts {
				t.Errorf("probe ports %q, want %q", env["PROBE_PORTS"], want.probePorts)
			}
			if env["POD_UID"] != "metadata.uid" || env["NODE_IP"] != "status.hostIP" {
				t.Errorf("environment %v, want the pod's UID and the node's address", env)
			}
			if isTiDB := component == tidbcluster.TiDB; guaranteed(out) != isTiDB {
				t.Errorf("class Guaranteed: %t, want %t", guaranteed(out), isTiDB)
			}
		})
	}
}

// without removes from an injected pod what belongs to the agent by its name, and lists
// that are then empty and are missing in before.
func without(pod, before map[string]any) map[string]any {
	meta, metaBefore := child(pod, "metadata"), child(before, "metadata")
	annotations, had := child(meta, "annotations"), child(metaBefore, "annotations")
	for _, key := range []string{StatusAnnotation, DefaultContainerAnnotation} {
		if _, ok := had[key]; !ok {
			delete(annotations, key)
		}
	}
	if metaBefore["annotations"] == nil && len(annotations) == 0 {
		delete(meta, "annotations")
	}
	spec, specBefore := child(pod, "spec"), child(before, "spec")
	for _, list := range []string{"containers", "initContainers", "volumes"} {
		all, _ := spec[list].([]any)
		all = slices.DeleteFunc(all, func(item any) bool {
			name, _ := item.(map[string]any)["name"].(string)
			return strings.HasPrefix(name, "tidelay-")
		})
		spec[list] = all
		if specBefore[list] == nil && len(all) == 0 {
			delete(spec, list)
		}
	}
	return pod
}

func child(of map[string]any, key string) map[string]any {
	m, _ := of[key].(map[string]any)
	return m
}

func object(t *testing.T, in string) map[string]any {
	t.Helper()
	var o map[string]any
	if err := yaml.Unmarshal([]byte(in), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// checkAnnotations checks that a start script can source the annotations that we add.
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
	return injectBy(t, member(decode(t, in)), in)
}

func injectBy(t *testing.T, member tidbcluster.Membership, in string) string {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	operations, err := json.Marshal(testConfig.Decide(decode(t, in), member, Facts{}).Patch)
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

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func diffObjects(a, b any) string { return cmp.Diff(a, b) }

// checkOlderAgent wants an agent to be recognised that an older injector added, with
// other variables and arguments.
func checkOlderAgent(t *testing.T, injected *corev1.Pod) {
	t.Helper()
	older := injected.DeepCopy()
	agent := &older.Spec.Containers[len(older.Spec.Containers)-1]
	agent.Args, agent.Env = nil, slices.DeleteFunc(agent.Env, func(e corev1.EnvVar) bool { return e.Name == "POD_UID" })
	if d := testConfig.Decide(older, member(older), Facts{}); d.Reason != AlreadyInjected || len(d.Patch) != 0 || !HasAgent(older) {
		t.Errorf("with an agent of an older injector: %s with %d operations, want already_injected with none", d.Reason, len(d.Patch))
	}
}

// checkRemoval moves a pod to the node's network, as another webhook may after ours, and
// wants it as it was before it was injected.
func checkRemoval(t *testing.T, before, after *corev1.Pod) {
	t.Helper()
	moved, want := after.DeepCopy(), before.DeepCopy()
	moved.Annotations[AdmissionAnnotation] = "some"
	moved.Spec.HostNetwork, want.Spec.HostNetwork = true, true
	d := testConfig.Decide(moved, member(moved), Facts{})
	got := apply(t, moved, d)
	if d.Reason != HostNetwork || HasAgent(got) {
		t.Errorf("on the node's network: %s, with the agent: %t", d.Reason, HasAgent(got))
	}
	// These stay: nobody can tell who added them.
	got.Spec.ImagePullSecrets = want.Spec.ImagePullSecrets
	delete(got.Annotations, DefaultContainerAnnotation)
	delete(want.Annotations, DefaultContainerAnnotation)
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("without the agent again (-before +got):\n%s", diff)
	}
}
