package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/cmd/internal/manifesttest"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/injection/gather"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
	"github.com/tidelay/tidelay/pkg/webhook"
	"github.com/tidelay/tidelay/pkg/webhook/certificate"
	"github.com/tidelay/tidelay/pkg/webhook/forward"
)

// TestManifestsFitTheProgram compares the ports, paths and names in the manifests
// with the program's.
func TestManifestsFitTheProgram(t *testing.T) {
	deployment := manifesttest.Read[appsv1.Deployment](t, "injector/deployment.yaml", "Deployment")
	spec := deployment.Spec.Template.Spec
	var o options
	manifesttest.Parse(t, &o, spec.Containers[0])
	manifesttest.CheckPod(t, "injector", deployment, map[string]string{
		"webhook": fmt.Sprintf(":%d", o.webhookPort), "health": o.HealthAddr, "metrics": o.MetricsAddr,
	})
	if grace := time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second; o.drain+shutdownTimeout >= grace {
		t.Errorf("a drain of %v and a shutdown of %v take longer than the pod is given, %v", o.drain, shutdownTimeout, grace)
	}

	service := manifesttest.Read[corev1.Service](t, "injector/service.yaml", "Service")
	config := manifesttest.Read[admissionregistrationv1.MutatingWebhookConfiguration](t, "injector/webhook.yaml", "MutatingWebhookConfiguration")
	reference := config.Webhooks[0].ClientConfig.Service
	if service.Name != o.ServiceName || service.Namespace != o.Namespace || service.Spec.Ports[0].TargetPort.StrVal != "webhook" {
		t.Errorf("Service %s/%s to port %v is not where the certificate says", service.Namespace, service.Name, service.Spec.Ports[0].TargetPort)
	}
	if reference.Name != service.Name || reference.Namespace != service.Namespace || *reference.Path != webhook.Path || *reference.Port != service.Spec.Ports[0].Port {
		t.Errorf("the webhook calls %+v, not the Service", reference)
	}
	if config.Name != o.WebhookName || config.Webhooks[0].ClientConfig.CABundle != nil {
		t.Errorf("MutatingWebhookConfiguration %s with caBundle %q, want %s without", config.Name, config.Webhooks[0].ClientConfig.CABundle, o.WebhookName)
	}
	if diff := cmp.Diff(deployment.Spec.Template.Labels, service.Spec.Selector); diff != "" {
		t.Errorf("selector of Service (-pods +selector):\n%s", diff)
	}
	if o.podName == "" {
		t.Error("the Deployment does not tell the injector the name of its pod")
	}
	if diff := cmp.Diff(deployment.Spec.Template.Labels, map[string]string(forward.Labels())); diff != "" {
		t.Errorf("labels of the injector's pods (-manifest +program):\n%s", diff)
	}
	if class := manifesttest.Read[schedulingv1.PriorityClass](t, "priorityclass.yaml", "PriorityClass"); spec.PriorityClassName != class.Name {
		t.Errorf("the pods are of priority class %q, not %q", spec.PriorityClassName, class.Name)
	}
}

// TestManifestsRunTheAgentFirst: the injector's pod runs the image that it injects
// before the injector, with the flags of injected agents, and replaces no replica
// before it is ready. So a rollout with an image that can't be pulled, or is no agent
// that takes those flags, leaves the replicas that work.
func TestManifestsRunTheAgentFirst(t *testing.T) {
	deployment := manifesttest.Read[appsv1.Deployment](t, "injector/deployment.yaml", "Deployment")
	spec := deployment.Spec.Template.Spec
	var o options
	manifesttest.Parse(t, &o, spec.Containers[0])
	want := append(injectedArgs(t, o), "--version")
	if len(spec.InitContainers) != 1 || spec.InitContainers[0].Image != o.AgentImage || !slices.Equal(spec.InitContainers[0].Args, want) {
		t.Errorf("init containers %+v, want %s %q", spec.InitContainers, o.AgentImage, want)
	}
	if rolling := deployment.Spec.Strategy.RollingUpdate; rolling.MaxUnavailable.IntValue() != 0 || rolling.MaxSurge.IntValue() < 1 {
		t.Errorf("a rollout takes %s replicas away at once and adds %s, want none and one", rolling.MaxUnavailable, rolling.MaxSurge)
	}
}

// injectedArgs returns the arguments of an agent that is injected with every setting.
func injectedArgs(t *testing.T, o options) []string {
	t.Helper()
	config := o.ConfigDefaults("v1")
	config.MaxDuration, config.TokenSecret = time.Second, "token"
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "tikv"}}}}
	member := tidbcluster.Membership{Component: tidbcluster.TiKV, OptIn: tidbcluster.ParseOptIn(map[string]string{tidbcluster.InjectAnnotation: "true"})}
	for _, op := range config.Decide(pod, member, injection.Facts{}).Patch {
		if container, ok := op.Value.(corev1.Container); ok {
			return container.Args
		}
	}
	t.Fatal("nothing was injected")
	return nil
}

// TestManifestsGrantWhatIsUsed compares the roles with the informers and live reads
// that the program declares, and with what it writes.
func TestManifestsGrantWhatIsUsed(t *testing.T) {
	trust := certificate.Trust{Webhook: "tidelay-injector", Secret: types.NamespacedName{Namespace: manifesttest.Namespace, Name: "tidelay-injector-ca"}}
	used := manifesttest.Permissions{}
	used.Add("", "events.k8s.io", "events", "", "create", "patch")
	used.Add("", "", "pods", "", "get", "list") // the pods of answered admissions, and package imagewatch
	used.Add("", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "tidelay-injector", "patch")
	used.Add(manifesttest.Namespace, "", "secrets", "", "create")
	used.Add(manifesttest.Namespace, "", "secrets", "tidelay-injector-ca", "update")
	for _, k := range slices.Concat(resolve.Kinds(), gather.Kinds(), trust.Kinds(), forward.Kinds(manifesttest.Namespace)) {
		used.AddReads(t, k)
	}
	if diff := cmp.Diff(used, manifesttest.Granted(t, "injector")); diff != "" {
		t.Errorf("permissions (-used +granted):\n%s", diff)
	}
}
