package main

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"

	"github.com/tidelay/tidelay/cmd/internal/manifesttest"
	"github.com/tidelay/tidelay/pkg/injection/gather"
	"github.com/tidelay/tidelay/pkg/missed"
	"github.com/tidelay/tidelay/pkg/networkfault"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
)

// TestManifestsFitTheProgram compares the ports, paths and names in the manifests
// with the program's.
func TestManifestsFitTheProgram(t *testing.T) {
	deployment := manifesttest.Read[appsv1.Deployment](t, "controller/deployment.yaml", "Deployment")
	spec := deployment.Spec.Template.Spec
	var o options
	manifesttest.Parse(t, &o, spec.Containers[0])
	manifesttest.CheckPod(t, "controller", deployment, map[string]string{"health": o.HealthAddr, "metrics": o.MetricsAddr})
	if o.missedCheck == 0 {
		t.Error("the shipped controller does not look for missed pods")
	}

	config := manifesttest.Read[admissionregistrationv1.MutatingWebhookConfiguration](t, "injector/webhook.yaml", "MutatingWebhookConfiguration")
	if config.Name != o.WebhookName {
		t.Errorf("the controller looks at webhook %s, not %s", o.WebhookName, config.Name)
	}
	service := manifesttest.Read[corev1.Service](t, "injector/service.yaml", "Service")
	if service.Namespace != o.Namespace || service.Name != o.ServiceName {
		t.Errorf("the controller looks at Service %s/%s, not %s/%s", o.Namespace, o.ServiceName, service.Namespace, service.Name)
	}
	hook := config.Webhooks[0]
	if path, port := *hook.ClientConfig.Service.Path, *hook.ClientConfig.Service.Port; path != missed.WebhookPath || port != missed.WebhookPort {
		t.Errorf("the webhook calls port %d for %s, want %d for %s", port, path, missed.WebhookPort, missed.WebhookPath)
	}
	var expressions []string
	for _, c := range hook.MatchConditions {
		expressions = append(expressions, c.Expression)
	}
	if diff := cmp.Diff(missed.MatchConditions(), expressions); diff != "" {
		t.Errorf("matchConditions (-check +manifest):\n%s", diff)
	}
	if class := manifesttest.Read[schedulingv1.PriorityClass](t, "priorityclass.yaml", "PriorityClass"); spec.PriorityClassName != class.Name {
		t.Errorf("the pods are of priority class %q, not %q", spec.PriorityClassName, class.Name)
	}

	// The decision of both is the same only if they have the same settings.
	injector := manifesttest.Read[appsv1.Deployment](t, "injector/deployment.yaml", "Deployment").Spec.Template.Spec
	for what, values := range map[string][2]any{
		"volumes":          {spec.Volumes, injector.Volumes},
		"mounts":           {spec.Containers[0].VolumeMounts, injector.Containers[0].VolumeMounts},
		"agent image":      {image(spec), image(injector)},
		"leading argument": {spec.Containers[0].Args[:2], injector.Containers[0].Args[:2]},
	} {
		if diff := cmp.Diff(values[1], values[0]); diff != "" {
			t.Errorf("%s (-injector +controller):\n%s", what, diff)
		}
	}
}

// image returns the agent's image.
func image(spec corev1.PodSpec) string {
	for _, e := range spec.Containers[0].Env {
		if e.Name == "AGENT_IMAGE" {
			return e.Value
		}
	}
	return ""
}

// TestManifestsGrantWhatIsUsed compares the roles with the informers and live reads
// that the program declares, and with what it lists and writes.
func TestManifestsGrantWhatIsUsed(t *testing.T) {
	used := manifesttest.Permissions{}
	used.Add("", "events.k8s.io", "events", "", "create", "patch")
	used.Add("", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "tidelay-injector", "get")
	used.Add("", "tidelay.io", "networkfaults/status", "", "update")
	used.Add("", "tidelay.io", "networktopologies/status", "", "update")
	used.Add(manifesttest.Namespace, "discovery.k8s.io", "endpointslices", "", "list")
	used.Add("", "", "events", "", "list")
	used.Add("", "pingcap.com", "tidbclusters", "", "patch")
	// The manager's leader election, which reports new leaders on its Lease.
	used.Add(manifesttest.Namespace, "coordination.k8s.io", "leases", "", "create")
	used.Add(manifesttest.Namespace, "coordination.k8s.io", "leases", name, "get", "update")
	used.Add(manifesttest.Namespace, "", "events", "", "create", "patch")
	for _, k := range slices.Concat(resolve.Kinds(), gather.Kinds(), networkfault.Kinds()) {
		used.AddReads(t, k)
	}
	if diff := cmp.Diff(used, manifesttest.Granted(t, "controller")); diff != "" {
		t.Errorf("permissions (-used +granted):\n%s", diff)
	}
}
