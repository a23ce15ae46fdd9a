//go:build apiserver

package apiserver

import (
	"context"
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

// getCRD reads the CRD of a resource of ours.
func getCRD(ctx context.Context, c client.Client, resource string) (*unstructured.Unstructured, error) {
	crd := &unstructured.Unstructured{}
	crd.SetAPIVersion("apiextensions.k8s.io/v1")
	crd.SetKind("CustomResourceDefinition")
	return crd, c.Get(ctx, client.ObjectKey{Name: resource + "." + faultGroup}, crd)
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
		Phase: v1alpha1.Running, Reason: "Applied", Message: "in force", What: "+50ms RTT", Applied: "4/4", Verified: "3/4", ExpiresAt: &ends,
	}
	must(t, admin.Status().Update(t.Context(), fault))

	n.shows([]columns{
		{[]string{"get", "nf"}, [][]string{
			{"NAME", "CLUSTER", "FROM", "TO", "WHAT", "PHASE", "APPLIED", "VERIFIED", "ENDS", "AGE"},
			{"fresh", "basic", `["tikv","pd(leader)"]`, `["tidb"]`, "0s"},
			{"running", "basic", `["tikv"]`, `["others"]`, "+50ms RTT", "Running", "4/4", "3/4", "2030-01-02T03:04:05Z", "0s"},
		}},
		{[]string{"get", "networkfault", "running", "-o", "wide"}, [][]string{
			{"NAME", "CLUSTER", "FROM", "TO", "WHAT", "PHASE", "APPLIED", "VERIFIED", "ENDS", "REASON", "MESSAGE", "AGE"},
			{"running", "basic", `["tikv"]`, `["others"]`, "+50ms RTT", "Running", "4/4", "3/4", "2030-01-02T03:04:05Z", "Applied", "in force", "0s"},
		}},
		{[]string{"get", "tidelay", "-o", "name"}, [][]string{{"networkfault.tidelay.io/fresh"}, {"networkfault.tidelay.io/running"}}},
	})
}

// columns are what kubectl is to print, by line, for its arguments. An empty column is
// left out.
type columns struct {
	args []string
	want [][]string
}

// shows runs kubectl in the namespace and compares what it prints. Ages are 0s.
func (n namespace) shows(all []columns) {
	n.t.Helper()
	for _, c := range all {
		printed, err := world.kubectl.output(n.t.Context(), append(c.args, "-n", n.name)...)
		must(n.t, err)
		var got [][]string
		for line := range strings.Lines(printed) {
			got = append(got, columnGap.Split(age.ReplaceAllString(strings.TrimSpace(line), "0s"), -1))
		}
		if !cmp.Equal(c.want, got) {
			n.t.Errorf("kubectl %s shows\n%swant %q", strings.Join(c.args, " "), printed, c.want)
		}
	}
}

// age is the last column.
var age = regexp.MustCompile(`\b([0-9]+m)?[0-9]+s$`)

// columnGap is between two columns. One space may be in a value.
var columnGap = regexp.MustCompile(`\s{2,}`)

// kubectl explains every field of both kinds.
func TestFaultsAreExplained(t *testing.T) {
	for field, want := range map[string]string{
		"nf.spec.rtt":    "RTT is added to the round trip of packets between both sides",
		"nt.spec.spread": "Spread deals the pods of each component out to so many zones",
	} {
		// With a cache of its own: kubectl keeps for minutes which kinds there were before
		// the CRD was installed, and explain doesn't ask again.
		printed, err := world.kubectl.output(t.Context(), "explain", field, "--cache-dir", t.TempDir())
		must(t, err)
		if !strings.Contains(printed, want) {
			t.Errorf("kubectl explain %s says\n%s", field, printed)
		}
	}
	for _, resource := range []string{faultResource, topologyResource} {
		t.Run(resource, func(t *testing.T) { everyFieldIsExplained(t, resource) })
	}
}

func everyFieldIsExplained(t *testing.T, resource string) {
	crd, err := getCRD(t.Context(), world.client, resource)
	must(t, err)
	versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
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
