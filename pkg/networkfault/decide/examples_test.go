package decide_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// examples is the folder of the files that people copy.
const examples = "../../../manifests/examples"

// newExamplesWorld is a world with two TiFlash and two TiCDC besides.
func newExamplesWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	tc := w.Cluster
	tc.Spec.TiFlash, tc.Spec.TiCDC = &tcv1alpha1.TiFlashSpec{Replicas: 2}, &tcv1alpha1.TiCDCSpec{Replicas: 2}
	tc.Status.TiFlash = tcv1alpha1.TiFlashStatus{Synced: true, Phase: tcv1alpha1.NormalPhase, Stores: map[string]tcv1alpha1.TiKVStore{}}
	tc.Status.TiCDC = tcv1alpha1.TiCDCStatus{Synced: true, Phase: tcv1alpha1.NormalPhase, Captures: map[string]tcv1alpha1.TiCDCCapture{}}
	for i := range 2 {
		store, flash, cdc := fmt.Sprint(11+i), fmt.Sprintf("basic-tiflash-%d", i), fmt.Sprintf("basic-ticdc-%d", i)
		tc.Status.TiFlash.Stores[store] = tcv1alpha1.TiKVStore{ID: store, PodName: flash, State: tcv1alpha1.TiKVStateUp}
		tc.Status.TiCDC.Captures[cdc] = tcv1alpha1.TiCDCCapture{PodName: cdc, IsOwner: i == 1, Ready: true}
		for component, name := range map[tidbcluster.Component]string{tidbcluster.TiFlash: flash, tidbcluster.TiCDC: cdc} {
			addr := netip.AddrFrom4([4]byte{10, 0, 1, byte(len(w.Pods))})
			w.Pods = append(w.Pods, decide.Pod{Name: name, Component: component, Addrs: []netip.Addr{addr}, Agent: true, Ready: true})
		}
	}
	return w
}

// example is a file of the folder, and what its comment says.
type example struct {
	name, comment, kind string
	content             []byte
	// needs are the rules of safety that it has to be allowed to break.
	needs []v1alpha1.Allowance
}

var (
	exampleKind  = regexp.MustCompile(`(?m)^kind: (\w+)$`)
	exampleNeeds = regexp.MustCompile(`(?m)^# Needs allow: \[([^]]*)\]\. \w+`)
)

// readExamples returns the files of a kind.
func readExamples(t *testing.T, kind string) []example {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(examples, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var all []example
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		comment, _, _ := strings.Cut(string(content), "\napiVersion:")
		match := exampleKind.FindSubmatch(content)
		if match == nil {
			t.Fatalf("%s has no kind", file)
		}
		if string(match[1]) != kind {
			continue
		}
		e := example{name: strings.TrimSuffix(filepath.Base(file), ".yaml"), comment: comment, kind: kind, content: content}
		if needs := exampleNeeds.FindStringSubmatch(comment); needs != nil {
			for rule := range strings.SplitSeq(needs[1], ", ") {
				e.needs = append(e.needs, v1alpha1.Allowance(rule))
			}
		}
		all = append(all, e)
	}
	if len(all) < 6 {
		t.Fatalf("%d examples of %s: they are not found", len(all), kind)
	}
	return all
}

// decode decodes an example, whose comment must say what people need to know.
func (e example) decode(t *testing.T, object any) {
	t.Helper()
	if err := yaml.UnmarshalStrict(e.content, object); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# Expect: ", "\n# From:\n# https://github.com/"} {
		if e.kind == "NetworkTopology" {
			want = strings.Replace(want, "From:\n# https://github.com/", "Source:\n# ", 1)
		}
		if !strings.Contains(e.comment, want) {
			t.Errorf("the comment does not say %q:\n%s", want, e.comment)
		}
	}
	if isFine := strings.Contains(e.comment, "\n# Safety lets it start without an allow.\n"); isFine != (e.needs == nil) {
		t.Errorf("the comment says that it needs %q, and that safety lets it start: %v", e.needs, isFine)
	}
}

// Every NetworkFault of the examples starts, and is refused without its allow, by the rule
// that its comment names.
func TestExamplesOfFaults(t *testing.T) {
	for _, e := range readExamples(t, "NetworkFault") {
		t.Run(e.name, func(t *testing.T) {
			f := &v1alpha1.NetworkFault{}
			e.decode(t, f)
			if f.Name != e.name || f.Namespace != "" || f.Spec.Cluster != "basic" || !slices.Equal(f.Spec.Allow, e.needs) {
				t.Errorf("it is %s/%s for %s with allow %q; the comment says it needs %q", f.Namespace, f.Name, f.Spec.Cluster, f.Spec.Allow, e.needs)
			}
			f.Generation = 1
			if f.Spec.To == nil {
				f.Spec.To = []v1alpha1.Selector{"others"} // the default of the custom resource
			}
			w := newExamplesWorld(t)
			w.Faults = append(w.Faults, f)
			if pods := faulted(w.run()); len(pods) == 0 {
				t.Error("no pod has a fault")
			}
			w.want(f, v1alpha1.Running, decide.ReasonApplied, "")

			for _, rule := range e.needs {
				without := f.DeepCopy()
				without.Status = v1alpha1.NetworkFaultStatus{}
				without.Spec.Allow = slices.DeleteFunc(slices.Clone(e.needs), func(a v1alpha1.Allowance) bool { return a == rule })
				w := newExamplesWorld(t)
				w.Faults = append(w.Faults, without)
				w.run()
				w.want(without, v1alpha1.Refused, string(rule), "allow: ["+string(rule)+"]")
			}
		})
	}
}

// Every NetworkTopology of the examples starts, and adds to round trips what its comment
// says: at most, which is with the jitter.
func TestExamplesOfTopologies(t *testing.T) {
	const pd0, pd1, pd2 = "basic-pd-0", "basic-pd-1", "basic-pd-2"
	const kv0, kv1, kv2 = "basic-tikv-0", "basic-tikv-1", "basic-tikv-2"
	want := map[string]map[[2]string]string{
		"topology-three-az":   {{pd0, kv1}: "1ms", {pd0, kv2}: "2ms", {pd1, kv2}: "2ms", {pd0, kv0}: "0s"},
		"topology-two-region": {{pd0, kv1}: "30ms", {pd1, kv2}: "1ms", {pd0, kv0}: "1ms"},
		"topology-2-2-1":      {{pd0, kv2}: "2ms", {pd2, kv0}: "20ms", {pd2, kv2}: "20ms", {pd0, kv1}: "0s", {pd0, "basic-ticdc-0"}: "0s"},
		"topology-us-eu-ap":   {{pd0, kv1}: "219ms", {pd0, kv2}: "106ms", {pd1, kv2}: "147ms"},
		"topology-list":       {{pd0, kv1}: "1ms", {pd0, kv2}: "26ms", {pd2, kv0}: "26ms", {pd1, kv2}: "40ms", {pd0, kv0}: "0s"},
		"topology-spread":     {{pd0, kv1}: "2ms", {pd1, kv2}: "2ms", {pd0, kv0}: "0s"},
	}
	for _, e := range readExamples(t, "NetworkTopology") {
		t.Run(e.name, func(t *testing.T) {
			o := &v1alpha1.NetworkTopology{}
			e.decode(t, o)
			if o.Name != e.name || o.Namespace != "" || o.Spec.Cluster != "basic" || len(o.Spec.Allow) > 0 || len(e.needs) > 0 {
				t.Errorf("it is %s/%s for %s with allow %q; the comment says it needs %q", o.Namespace, o.Name, o.Spec.Cluster, o.Spec.Allow, e.needs)
			}
			o.Generation = 1
			w := newExamplesWorld(t)
			for i := range w.Pods { // two regions: the pods of number 0, and the others
				region := "west"
				if !strings.HasSuffix(w.Pods[i].Name, "-0") {
					region = "east"
				}
				w.Pods[i].NodeLabels = map[string]string{corev1.LabelTopologyRegion: region}
			}
			w.Topologies = append(w.Topologies, o)
			d := w.run()
			w.wantTopology(o, v1alpha1.Running, decide.ReasonApplied, "")
			if len(want[e.name]) == 0 {
				t.Error("this test does not know what it adds")
			}
			for pair, rtt := range want[e.name] {
				pods := slices.Sorted(slices.Values(pair[:]))
				if got := w.added(d, pods[0], pods[1]); got.String() != rtt {
					t.Errorf("%v: %s, want %s", pair, got, rtt)
				}
			}
		})
	}
}

// The index has every example.
func TestExamplesAreListed(t *testing.T) {
	index, err := os.ReadFile(filepath.Join(examples, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"NetworkFault", "NetworkTopology"} {
		for _, e := range readExamples(t, kind) {
			row := regexp.MustCompile(`(?m)^\| \[` + e.name + `\]\(` + e.name + `\.yaml\) \|.*$`).FindString(string(index))
			if row == "" {
				t.Errorf("README.md has no row of %s", e.name)
			}
			for _, rule := range e.needs {
				if !strings.HasSuffix(row, "| `"+string(rule)+"` |") {
					t.Errorf("the row of %s does not end with %s:\n%s", e.name, rule, row)
				}
			}
		}
	}
}
