package plugin_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/injection/gather"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
)

// fixtures are the pods that package injection's golden test injects: in.yaml and out.yaml.
func fixtures(t *testing.T) map[string][2]string {
	t.Helper()
	all := map[string][2]string{}
	inputs, err := filepath.Glob("../injection/testdata/*/in.yaml")
	if err != nil || len(inputs) < 10 {
		t.Fatalf("fixtures %q: %v", inputs, err)
	}
	for _, input := range inputs {
		var texts [2]string
		for i, file := range []string{input, filepath.Join(filepath.Dir(input), "out.yaml")} {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			texts[i] = string(content)
		}
		all[filepath.Base(filepath.Dir(input))] = texts
	}
	return all
}

// fixtureCluster is the TidbCluster that the fixtures were injected for.
const fixtureCluster = `apiVersion: pingcap.com/v1alpha1
kind: TidbCluster
metadata:
  name: basic
  namespace: db
  uid: %UID
  annotations:
    tidelay.io/inject: "true"
`

// What is previewed is what the injector makes of the same pods, byte for byte. A second time
// changes nothing.
func TestPreviewIsTheInjectors(t *testing.T) {
	for name, texts := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var pod corev1.Pod
			var status injection.Status
			if err := yaml.Unmarshal([]byte(texts[1]), &pod); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(pod.Annotations[injection.StatusAnnotation]), &status); err != nil {
				t.Fatal(err)
			}
			w.version = status.Version
			cluster := strings.ReplaceAll(fixtureCluster, "%UID", status.ClusterUID)
			want := cluster + "---\n" + texts[1]
			args := []string{"preview", "-f", "-", "--image", status.Image}
			if len(pod.OwnerReferences) == 0 {
				args = append(args, "--cluster=basic", "--component=tikv")
			}
			for _, in := range []string{texts[0], texts[1]} {
				w.in = cluster + "---\n" + in
				if status := w.run(t.Context(), args...); status != 0 {
					t.Fatalf("exit status %d: %s", status, w.errOut.String())
				}
				if diff := cmp.Diff(want, w.out.String()); diff != "" {
					t.Errorf("(-injector +preview):\n%s", diff)
				}
			}
			if !strings.Contains(w.errOut.String(), string(injection.AlreadyInjected)) {
				t.Errorf("a second time: %s", w.errOut.String())
			}
		})
	}
}

// What is longer than the bound is refused, and not cut.
func TestPreviewTooLong(t *testing.T) {
	w := newWorld(t)
	w.in = strings.Repeat("#\n", 16<<20) + "#"
	if status := w.run(t.Context(), "preview", "-f", "-"); status != 1 || !strings.Contains(w.errOut.String(), "standard input is longer than 32 MiB") {
		t.Errorf("exit status %d: %s", status, w.errOut.String())
	}
}

// The verdict is the injector's, for the pods of all components, with and without the agent,
// and for one pod that is skipped for each of many reasons.
func TestExplainIsTheInjectors(t *testing.T) {
	for name, texts := range fixtures(t) {
		for i, which := range []string{"in", "out"} {
			t.Run(name+"/"+which, func(t *testing.T) { checkVerdict(t, texts[i], func(*corev1.Pod) {}) })
		}
	}
	for name, change := range map[string]func(*corev1.Pod){
		"host network":  func(p *corev1.Pod) { p.Spec.HostNetwork = true },
		"opted out":     func(p *corev1.Pod) { p.Annotations[tidbcluster.InjectAnnotation] = "false" },
		"Windows":       func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} },
		"a volume":      func(p *corev1.Pod) { p.Spec.Volumes[0].Name = "tidelay-state" },
		"a port":        func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].ContainerPort = 2332 },
		"no containers": func(p *corev1.Pod) { p.Spec.Containers = nil },
		"another label": func(p *corev1.Pod) { p.Labels[tidbcluster.ComponentLabel] = "pd" },
		"no controller": func(p *corev1.Pod) { p.OwnerReferences[0].Controller = nil },
		"another owner": func(p *corev1.Pod) { p.OwnerReferences[0].UID = "another" },
		"no owner":      func(p *corev1.Pod) { p.OwnerReferences[0].Name = "gone" },
	} {
		t.Run(name, func(t *testing.T) { checkVerdict(t, fixtures(t)["tikv"][0], change) })
	}
}

func checkVerdict(t *testing.T, text string, change func(*corev1.Pod)) {
	t.Helper()
	w := newWorld(t)
	var pod corev1.Pod
	if err := yaml.Unmarshal([]byte(text), &pod); err != nil {
		t.Fatal(err)
	}
	pod.Name = "basic-fixture-0" // discovery's has none
	w.makeOwners(&pod)
	change(&pod)
	if err := w.Create(t.Context(), &pod); err != nil {
		t.Fatal(err)
	}
	reader, err := confirm.NewReader(w.Client, w.Client, rate.NewLimiter(rate.Inf, 0), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	g := gather.Gatherer{Config: func() injection.Config { return look.DefaultConfig("v1") }, Resolver: resolve.NewResolver(reader), Namespaces: gather.NewNamespaces(reader), Images: pulled{}}
	member, want, err := g.Decide(t.Context(), "db", &pod)
	if err != nil {
		t.Fatal(err)
	}
	if status := w.run(t.Context(), "explain", pod.Name, "-o", "json"); status != 0 {
		t.Fatalf("exit status %d: %s", status, w.errOut.String())
	}
	var got struct {
		Decision struct{ Reason, Detail string }
		Cluster  string
	}
	if err := json.Unmarshal(w.out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Decision.Reason != string(want.Reason) || got.Decision.Detail != want.Detail || got.Cluster != member.Cluster.Name {
		t.Errorf("explained as %+v, and the injector says %s: %s, of %q", got, want.Reason, want.Detail, member.Cluster.Name)
	}
}

// pulled knows nothing against the agent's image.
type pulled struct{}

func (pulled) Problem(string, injection.Config) (none injection.ImageProblem) { return none }

// makeOwners makes the workloads of a pod, the last of which the TidbCluster owns.
func (w *world) makeOwners(pod *corev1.Pod) {
	w.t.Helper()
	ref := metav1.GetControllerOf(pod)
	if ref == nil {
		return
	}
	cluster := metav1.OwnerReference{APIVersion: "pingcap.com/v1alpha1", Kind: "TidbCluster", Name: "basic", UID: "tc", Controller: new(true)}
	meta := metav1.ObjectMeta{Namespace: "db", Name: ref.Name, UID: ref.UID, OwnerReferences: []metav1.OwnerReference{cluster}}
	owners := []client.Object{&appsv1.StatefulSet{ObjectMeta: meta}}
	if ref.Kind == "ReplicaSet" {
		deployment := metav1.ObjectMeta{Namespace: "db", Name: "basic-discovery", UID: "d", OwnerReferences: meta.OwnerReferences}
		meta.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: "basic-discovery", UID: "d", Controller: new(true)}}
		owners = []client.Object{&appsv1.ReplicaSet{ObjectMeta: meta}, &appsv1.Deployment{ObjectMeta: deployment}}
	}
	for _, o := range owners {
		if err := client.IgnoreNotFound(w.Delete(w.t.Context(), o)); err != nil {
			w.t.Fatal(err)
		}
		if err := w.Create(w.t.Context(), o); err != nil {
			w.t.Fatal(err)
		}
	}
}
