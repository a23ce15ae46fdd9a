//go:build apiserver

package apiserver

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// crdName is the name of NetworkFault's CRD.
const crdName = faultResource + "." + faultGroup

// getCRD reads NetworkFault's CRD.
func getCRD(t *testing.T, c client.Client) *unstructured.Unstructured {
	t.Helper()
	crd := &unstructured.Unstructured{}
	crd.SetAPIVersion("apiextensions.k8s.io/v1")
	crd.SetKind("CustomResourceDefinition")
	must(t, c.Get(t.Context(), client.ObjectKey{Name: crdName}, crd))
	return crd
}

// What people see of their faults.
func TestFaultColumns(t *testing.T) {
	n := newNamespace(t)
	n.make(n.fault("fresh", "from: [tikv, 'pd(leader)'], to: [tidb]"))
	n.make(n.fault("running", ""))
	admin, fault := clientAs(t, ""), &v1alpha1.NetworkFault{}
	must(t, admin.Get(t.Context(), client.ObjectKey{Namespace: n.name, Name: "running"}, fault))
	ends := metav1.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	fault.Status.Life = v1alpha1.Life{
		Phase: v1alpha1.Running, Reason: "Applied", Message: "in force", What: "+50ms RTT", Applied: "4/4", ExpiresAt: &ends,
	}
	must(t, admin.Status().Update(t.Context(), fault))

	for _, c := range []struct {
		args []string
		want [][]string
	}{
		{[]string{"get", "nf"}, [][]string{
			{"NAME", "CLUSTER", "FROM", "TO", "WHAT", "PHASE", "APPLIED", "ENDS", "AGE"},
			{"fresh", "basic", `["tikv","pd(leader)"]`, `["tidb"]`, "0s"},
			{"running", "basic", `["tikv"]`, `["others"]`, "+50ms RTT", "Running", "4/4", "2030-01-02T03:04:05Z", "0s"},
		}},
		{[]string{"get", "networkfault", "running", "-o", "wide"}, [][]string{
			{"NAME", "CLUSTER", "FROM", "TO", "WHAT", "PHASE", "APPLIED", "ENDS", "REASON", "MESSAGE", "AGE"},
			{"running", "basic", `["tikv"]`, `["others"]`, "+50ms RTT", "Running", "4/4", "2030-01-02T03:04:05Z", "Applied", "in force", "0s"},
		}},
		{[]string{"get", "tidelay", "-o", "name"}, [][]string{{"networkfault.tidelay.io/fresh"}, {"networkfault.tidelay.io/running"}}},
	} {
		printed, err := world.kubectl.output(t.Context(), append(c.args, "-n", n.name)...)
		must(t, err)
		var got [][]string
		for line := range strings.Lines(printed) {
			got = append(got, columnGap.Split(age.ReplaceAllString(strings.TrimSpace(line), "0s"), -1))
		}
		if !cmp.Equal(c.want, got) {
			t.Errorf("kubectl %s shows\n%swant %q", strings.Join(c.args, " "), printed, c.want)
		}
	}
}

// age is the last column.
var age = regexp.MustCompile(`\b([0-9]+m)?[0-9]+s$`)

// columnGap is between two columns. One space may be in a value.
var columnGap = regexp.MustCompile(`\s{2,}`)

// kubectl explains every field.
func TestFaultsAreExplained(t *testing.T) {
	// With a cache of its own: kubectl keeps for minutes which kinds there were before
	// the CRD was installed, and explain doesn't ask again.
	printed, err := world.kubectl.output(t.Context(), "explain", "nf.spec.rtt", "--cache-dir", t.TempDir())
	must(t, err)
	if !strings.Contains(printed, "RTT is added to the round trip of packets between both sides") {
		t.Errorf("kubectl explain nf.spec.rtt says\n%s", printed)
	}
	versions, _, err := unstructured.NestedSlice(getCRD(t, world.client).Object, "spec", "versions")
	must(t, err)
	fields := 0
	var walk func(path string, schema map[string]any)
	walk = func(path string, schema map[string]any) {
		if items, ok := schema["items"].(map[string]any); ok {
			schema = items
		}
		properties, _ := schema["properties"].(map[string]any)
		for name, property := range properties {
			property := property.(map[string]any)
			if path == "" && name == "metadata" { // Kubernetes explains it
				continue
			}
			fields++
			if description, _ := property["description"].(string); len(description) < 10 {
				t.Errorf("%s.%s is not explained: %q", path, name, description)
			}
			walk(path+"."+name, property)
		}
	}
	for _, version := range versions {
		schema, _, err := unstructured.NestedMap(version.(map[string]any), "schema", "openAPIV3Schema")
		must(t, err)
		walk("", schema)
	}
	if fields < 50 {
		t.Errorf("found %d fields: this test does not see them", fields)
	}
}
