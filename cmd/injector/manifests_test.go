package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/webhook"
	"github.com/tidelay/tidelay/pkg/webhook/certificate"
)

// manifest reads the one object of type T in a file of the manifests.
func manifest[T any](t *testing.T, file, kind string) T {
	t.Helper()
	content, err := os.ReadFile(manifests + "/" + file)
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

// shipped returns the options of the injector's Deployment.
func shipped(t *testing.T, container corev1.Container) options {
	t.Helper()
	env := map[string]string{"POD_NAMESPACE": "tidelay-system"}
	for _, e := range container.Env {
		if e.ValueFrom == nil {
			env[e.Name] = e.Value
		}
	}
	var args []string
	for _, arg := range container.Args {
		args = append(args, os.Expand(strings.NewReplacer("$(", "${", ")", "}").Replace(arg), func(key string) string { return env[key] }))
	}
	o, err := parse(args, func(key string) string { return env[key] })
	if err != nil {
		t.Fatalf("the Deployment's arguments %q: %v", args, err)
	}
	return o
}

// TestManifestsFitTheProgram compares what the manifests say of ports, paths
// and names with what the program takes them to be.
func TestManifestsFitTheProgram(t *testing.T) {
	deployment := manifest[appsv1.Deployment](t, "deployment.yaml", "Deployment")
	spec := deployment.Spec.Template.Spec
	container := spec.Containers[0]
	o := shipped(t, container)
	ports := map[string]int32{}
	for _, p := range container.Ports {
		ports[p.Name] = p.ContainerPort
	}
	port := func(address string) int32 {
		n, err := strconv.ParseInt(strings.TrimPrefix(address, ":"), 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		return int32(n)
	}
	wantPorts := map[string]int32{"webhook": int32(o.webhookPort), "health": port(o.healthAddr), "metrics": port(o.metricsAddr)}
	if diff := cmp.Diff(wantPorts, ports); diff != "" {
		t.Errorf("container ports (-flags +manifest):\n%s", diff)
	}
	if grace := time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second; o.drain+shutdownTimeout >= grace {
		t.Errorf("a drain of %v and a shutdown of %v take longer than the pod is given, %v", o.drain, shutdownTimeout, grace)
	}
	if container.ReadinessProbe.HTTPGet.Path != "/readyz" || container.LivenessProbe.HTTPGet.Path != "/healthz" {
		t.Error("the probes ask for other paths than the program serves")
	}

	service := manifest[corev1.Service](t, "service.yaml", "Service")
	config := manifest[admissionregistrationv1.MutatingWebhookConfiguration](t, "webhook.yaml", "MutatingWebhookConfiguration")
	reference := config.Webhooks[0].ClientConfig.Service
	if service.Name != o.serviceName || service.Namespace != o.namespace || service.Spec.Ports[0].TargetPort.StrVal != "webhook" {
		t.Errorf("Service %s/%s to port %v is not where the certificate says", service.Namespace, service.Name, service.Spec.Ports[0].TargetPort)
	}
	if reference.Name != service.Name || reference.Namespace != service.Namespace || *reference.Path != webhook.Path || *reference.Port != service.Spec.Ports[0].Port {
		t.Errorf("the webhook calls %+v, not the Service", reference)
	}
	if config.Name != o.webhookName || config.Webhooks[0].ClientConfig.CABundle != nil {
		t.Errorf("MutatingWebhookConfiguration %s with caBundle %q, want %s without", config.Name, config.Webhooks[0].ClientConfig.CABundle, o.webhookName)
	}

	labels := deployment.Spec.Template.Labels
	budget := manifest[policyv1.PodDisruptionBudget](t, "pdb.yaml", "PodDisruptionBudget")
	policy := manifest[networkingv1.NetworkPolicy](t, "networkpolicy.yaml", "NetworkPolicy")
	for of, selector := range map[string]map[string]string{
		"NetworkPolicy": policy.Spec.PodSelector.MatchLabels,
		"Deployment":    deployment.Spec.Selector.MatchLabels, "Service": service.Spec.Selector, "PodDisruptionBudget": budget.Spec.Selector.MatchLabels,
		"topology spread": spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels,
	} {
		if diff := cmp.Diff(labels, selector); diff != "" {
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
	if class := manifest[schedulingv1.PriorityClass](t, "priorityclass.yaml", "PriorityClass"); spec.PriorityClassName != class.Name {
		t.Errorf("the pods are of priority class %q, not %q", spec.PriorityClassName, class.Name)
	}
}

// permissions is a set of lines "namespace group/resource name verb".
type permissions map[string]bool

func (p permissions) add(namespace, group, resource, name string, verbs ...string) {
	for _, verb := range verbs {
		p[fmt.Sprintf("namespace=%s %s/%s name=%s %s", namespace, group, resource, name, verb)] = true
	}
}

func (p permissions) addRules(namespace string, rules []rbacv1.PolicyRule) {
	for _, rule := range rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, name := range names {
					p.add(namespace, group, resource, name, rule.Verbs...)
				}
			}
		}
	}
}

// TestManifestsGrantWhatIsUsed compares the roles with the informers and live
// reads that the program declares, and with what it lists and writes beside.
func TestManifestsGrantWhatIsUsed(t *testing.T) {
	trust := certificate.Trust{Webhook: "tidelay-injector", Secret: types.NamespacedName{Namespace: "tidelay-system", Name: "tidelay-injector-ca"}}
	used := permissions{}
	used.add("", "events.k8s.io", "events", "", "create", "patch")
	used.add("", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "tidelay-injector", "patch")
	used.add("tidelay-system", "", "secrets", "", "create")
	used.add("tidelay-system", "", "secrets", "tidelay-injector-ca", "update")
	used.add("", "", "pods", "", "list")
	used.add("", "pingcap.com", "tidbclusters", "", "patch")
	used.add("tidelay-system", "coordination.k8s.io", "leases", "", "create")
	used.add("tidelay-system", "coordination.k8s.io", "leases", "tidelay-injector", "get", "update")
	for _, k := range slices.Concat(tidbcluster.Kinds(), webhook.Kinds(), trust.Kinds()) {
		addReads(t, used, k)
	}

	granted := permissions{}
	granted.addRules("", manifest[rbacv1.ClusterRole](t, "rbac.yaml", "ClusterRole").Rules)
	granted.addRules("tidelay-system", manifest[rbacv1.Role](t, "rbac.yaml", "Role").Rules)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(used)), slices.Sorted(maps.Keys(granted))); diff != "" {
		t.Errorf("permissions (-used +granted):\n%s", diff)
	}
}

// addReads adds what keeping k in the cache and reading it live takes.
func addReads(t *testing.T, used permissions, k confirm.Kind) {
	t.Helper()
	gvk, err := apiutil.GVKForObject(k.Object, newScheme())
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
		used.add("", gvk.Group, plural.Resource, name, "get", "list", "watch")
		return
	}
	for namespace, config := range k.Cache.Namespaces {
		used.add(namespace, gvk.Group, plural.Resource, nameIn(config.FieldSelector), "get", "list", "watch")
	}
}
