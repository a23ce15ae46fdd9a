// Package manifesttest reads the shipped manifests for the tests that compare them
// with the programs.
package manifesttest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/cmd/internal/daemon"
	"github.com/tidelay/tidelay/pkg/confirm"
)

// Namespace is where the manifests install.
const Namespace = "tidelay-system"

// manifests is the folder, as seen from the folder of a command.
const manifests = "../../manifests/"

// Read reads the object of a kind in a file of the manifests. The first one counts.
func Read[T any](t *testing.T, file, kind string) T {
	t.Helper()
	content, err := os.ReadFile(manifests + file)
	if err != nil {
		t.Fatal(err)
	}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			t.Fatalf("%s has no %s", file, kind)
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(document), "\nkind: "+kind+"\n") {
			continue
		}
		var object T
		if err := yaml.UnmarshalStrict(document, &object); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		return object
	}
}

// Parse parses the arguments of a container in the way that kubelet starts it.
func Parse(t *testing.T, p daemon.Program, container corev1.Container) {
	t.Helper()
	fields := map[string]string{"metadata.namespace": Namespace, "metadata.name": "a-pod"}
	env := map[string]string{}
	for _, e := range container.Env {
		env[e.Name] = e.Value
		if e.ValueFrom != nil {
			env[e.Name] = fields[e.ValueFrom.FieldRef.FieldPath]
		}
	}
	getenv := func(key string) string { return env[key] }
	var args []string
	for _, arg := range container.Args {
		args = append(args, os.Expand(strings.NewReplacer("$(", "${", ")", "}").Replace(arg), getenv))
	}
	if err := daemon.Parse(p, args, getenv); err != nil {
		t.Fatalf("the Deployment's arguments %q: %v", args, err)
	}
}

// CheckPod compares a Deployment with its PodDisruptionBudget and NetworkPolicy, which
// are in the same folder, and with the paths and the ports that the program serves.
func CheckPod(t *testing.T, folder string, deployment appsv1.Deployment, ports map[string]string) {
	t.Helper()
	spec := deployment.Spec.Template.Spec
	container := spec.Containers[0]
	declared := map[string]string{}
	for _, p := range container.Ports {
		declared[p.Name] = fmt.Sprintf(":%d", p.ContainerPort)
	}
	if diff := cmp.Diff(ports, declared); diff != "" {
		t.Errorf("container ports (-flags +manifest):\n%s", diff)
	}
	for probe, path := range map[*corev1.Probe]string{container.ReadinessProbe: "/readyz", container.LivenessProbe: "/healthz"} {
		if probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != "health" {
			t.Errorf("a probe asks port %s for %s, want health for %s", probe.HTTPGet.Port.String(), probe.HTTPGet.Path, path)
		}
	}
	if got := deployment.Spec.Template.Annotations["prometheus.io/port"]; ":"+got != ports["metrics"] {
		t.Errorf("annotation prometheus.io/port is %s, the metrics are at %s", got, ports["metrics"])
	}

	budget := Read[policyv1.PodDisruptionBudget](t, folder+"/pdb.yaml", "PodDisruptionBudget")
	policy := Read[networkingv1.NetworkPolicy](t, folder+"/networkpolicy.yaml", "NetworkPolicy")
	for of, selector := range map[string]map[string]string{
		"NetworkPolicy":       policy.Spec.PodSelector.MatchLabels,
		"Deployment":          deployment.Spec.Selector.MatchLabels,
		"PodDisruptionBudget": budget.Spec.Selector.MatchLabels,
		"topology spread":     spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels,
	} {
		if diff := cmp.Diff(deployment.Spec.Template.Labels, selector); diff != "" {
			t.Errorf("selector of %s (-pods +selector):\n%s", of, diff)
		}
	}
	admitted := map[string]bool{}
	for _, p := range policy.Spec.Ingress[0].Ports {
		admitted[p.Port.StrVal] = true
	}
	for name := range ports {
		if !admitted[name] {
			t.Errorf("the NetworkPolicy keeps port %s closed", name)
		}
	}
	if len(admitted) != len(ports) {
		t.Errorf("the NetworkPolicy opens %v, the pod has %v", admitted, ports)
	}
}

// Permissions is a set of lines "namespace group/resource name verb".
type Permissions map[string]bool

// Add adds verbs on a resource. An empty namespace or name means all.
func (p Permissions) Add(namespace, group, resource, name string, verbs ...string) {
	for _, verb := range verbs {
		p[fmt.Sprintf("namespace=%s %s/%s name=%s %s", namespace, group, resource, name, verb)] = true
	}
}

// AddRules adds the rules of a role.
func (p Permissions) AddRules(namespace string, rules []rbacv1.PolicyRule) {
	for _, rule := range rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, name := range names {
					p.Add(namespace, group, resource, name, rule.Verbs...)
				}
			}
		}
	}
}

// AddReads adds what it takes to keep a kind in the cache and to read it live.
func (p Permissions) AddReads(t *testing.T, k confirm.Kind) {
	t.Helper()
	gvk, err := apiutil.GVKForObject(k.Object, daemon.NewScheme())
	if err != nil {
		t.Fatal(err)
	}
	plural, _ := meta.UnsafeGuessKindToResource(gvk)
	nameIn := func(selector fields.Selector) string {
		if selector == nil {
			return ""
		}
		name, _ := selector.RequiresExactMatch("metadata.name")
		return name
	}
	if k.Cache == nil || k.Cache.Namespaces == nil {
		name := ""
		if k.Cache != nil {
			name = nameIn(k.Cache.Field)
		}
		p.Add("", gvk.Group, plural.Resource, name, "get", "list", "watch")
		return
	}
	for namespace, config := range k.Cache.Namespaces {
		p.Add(namespace, gvk.Group, plural.Resource, nameIn(config.FieldSelector), "get", "list", "watch")
	}
}

// Granted returns what the ClusterRole and the Role in a folder's rbac.yaml allow.
func Granted(t *testing.T, folder string) Permissions {
	t.Helper()
	granted := Permissions{}
	granted.AddRules("", Read[rbacv1.ClusterRole](t, folder+"/rbac.yaml", "ClusterRole").Rules)
	granted.AddRules(Namespace, Read[rbacv1.Role](t, folder+"/rbac.yaml", "Role").Rules)
	return granted
}
