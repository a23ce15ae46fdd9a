//go:build apiserver

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// What somebody does to the webhook is told, on TidbClusters whose pods went without
// the agent and on those whose pods have it, and not called missed. It is told no more
// when the manifests are applied again.
func TestBrokenWebhookIsTold(t *testing.T) {
	n := newNamespace(t)
	set := n.statefulSet("basic-tikv", n.cluster("basic", optedIn()))
	eventuallyInjects(t)
	n.admit(n.pod("basic-tikv-0", "tikv", set)).wants(t, "injected", "tikv")
	controller := newLeader(t)
	n.hasCondition("basic", "True injected")
	repair := func() {
		must(t, world.kubectl.run(t.Context(), "replace", "--force", "-f", manifests+"/injector/webhook.yaml"))
		must(t, world.setEndpoints(t.Context(), 1))
		eventuallyInjects(t)
	}
	defer repair()

	edit := func(change func(*admissionregistrationv1.MutatingWebhook)) func() error {
		return func() error {
			config := &admissionregistrationv1.MutatingWebhookConfiguration{}
			if err := world.client.Get(t.Context(), client.ObjectKey{Name: configurationName}, config); err != nil {
				return err
			}
			change(&config.Webhooks[0])
			return world.client.Update(t.Context(), config)
		}
	}
	policy := func(p admissionregistrationv1.FailurePolicyType) {
		t.Helper()
		must(t, edit(func(h *admissionregistrationv1.MutatingWebhook) { h.FailurePolicy = new(p) })())
	}
	policy(admissionregistrationv1.Fail)
	if message := n.hasCondition("basic", "False webhook_failure_policy"); !strings.Contains(message, `failurePolicy is "Fail", want "Ignore"`) {
		t.Errorf("with the failurePolicy Fail: %q", message)
	}
	policy(admissionregistrationv1.Ignore)

	// Each change comes on top of those before, and is looked for before them.
	for _, test := range []struct {
		reason, says string
		change       func() error
	}{
		{"injector_not_ready", "no replica of the injector is ready", func() error { return world.setEndpoints(t.Context(), 0) }},
		{"webhook_client_config", `service.path is "/other"`, edit(func(h *admissionregistrationv1.MutatingWebhook) {
			h.ClientConfig.Service.Path = new("/other")
		})},
		{"webhook_match_conditions", `matchConditions "never"`, edit(func(h *admissionregistrationv1.MutatingWebhook) {
			h.MatchConditions = append(h.MatchConditions, admissionregistrationv1.MatchCondition{Name: "never", Expression: "false"})
		})},
		{"webhook_object_selector", `"a=b,app.kubernetes.io/managed-by=tidb-operator"`, edit(func(h *admissionregistrationv1.MutatingWebhook) {
			h.ObjectSelector.MatchLabels["a"] = "b"
		})},
		{"namespace_excluded", "namespaceSelector", edit(func(h *admissionregistrationv1.MutatingWebhook) {
			h.NamespaceSelector.MatchLabels = map[string]string{"a": "b"}
		})},
		{"webhook_rules", "no rule covers CREATE of pods", edit(func(h *admissionregistrationv1.MutatingWebhook) {
			h.Rules[0].Operations = []admissionregistrationv1.OperationType{admissionregistrationv1.Update}
		})},
		{"webhook_missing", "there is no MutatingWebhookConfiguration " + configurationName, func() error {
			config := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: configurationName}}
			return world.client.Delete(t.Context(), config)
		}},
	} {
		must(t, test.change())
		message := n.hasCondition("basic", "False "+test.reason)
		if !strings.HasPrefix(message, "1 of 1 pods carry the agent; a pod that is created now goes without it: ") || !strings.Contains(message, test.says) {
			t.Errorf("%s: message %q, want it to say %q", test.reason, message, test.says)
		}
		if got := controller.blocked(t, n.name); got != test.reason {
			t.Errorf("tidelay_injection_blocked has the reason %q, want %q", got, test.reason)
		}
	}

	// A pod that is made now has no agent, and is not one that was missed.
	n.post(n.pod("basic-tikv-1", "tikv", set), wet)
	eventually(t, 10*time.Second, func() error {
		if says, message := n.condition("basic"); !strings.HasPrefix(message, "1 of 2 pods go without the agent: basic-tikv-1 (webhook_missing)") {
			return fmt.Errorf("%s: %s", says, message)
		}
		return nil
	})
	if got := controller.missed(t, n.name); got != 0 {
		t.Errorf("tidelay_missed_pods is %v, want 0", got)
	}
	repair()
	n.hasCondition("basic", "False missed")
}

// blocked is the reason of tidelay_injection_blocked in a namespace, or "".
func (p *process) blocked(t *testing.T, namespace string) string {
	t.Helper()
	for _, metric := range p.scrape(t, "tidelay_injection_blocked") {
		labels := map[string]string{}
		for _, label := range metric.GetLabel() {
			labels[label.GetName()] = label.GetValue()
		}
		if labels["namespace"] == namespace && metric.GetGauge().GetValue() == 1 {
			return labels["reason"]
		}
	}
	return ""
}

// Without the right to list pods, or what leads to their TidbClusters, the condition
// soon says that nothing is known, since when and why; with the right it knows again.
func TestLostRightsAreTold(t *testing.T) {
	n := newNamespace(t)
	n.cluster("basic", optedIn())
	controller := newLeader(t)
	n.hasCondition("basic", "Unknown no_pods")
	role := &rbacv1.ClusterRole{}
	must(t, world.client.Get(t.Context(), client.ObjectKey{Name: controllerName}, role))
	shipped := role.Rules
	set := func(ctx context.Context, rules []rbacv1.PolicyRule) error {
		role.Rules, role.ResourceVersion = rules, ""
		return world.client.Update(ctx, role)
	}
	t.Cleanup(func() { must(t, set(context.Background(), shipped)) })

	for resource, says := range map[string]string{"pods": `cannot list resource "pods"`, "statefulsets": `cannot list resource "statefulsets"`} {
		before := time.Now().Truncate(time.Second)
		var rules []rbacv1.PolicyRule
		for _, rule := range shipped {
			kept := rule.DeepCopy()
			kept.Resources = nil
			for _, r := range rule.Resources {
				if r != resource {
					kept.Resources = append(kept.Resources, r)
				}
			}
			if len(kept.Resources) > 0 {
				rules = append(rules, *kept)
			}
		}
		must(t, set(t.Context(), rules))
		message := n.hasCondition("basic", "Unknown check_failed")
		var last time.Time
		if at, rest, ok := strings.Cut(strings.TrimPrefix(message, "the pods could not be checked since "), ": "); ok && strings.Contains(rest, says) {
			last, _ = time.Parse(time.RFC3339, at)
		}
		if last.Before(before.Add(-5*time.Second)) || last.After(time.Now()) {
			t.Errorf("message %q, want a time after %s, and %q", message, before, says)
		}
		if _, found := controller.gauge(t, "tidelay_missed_pods", n.name); found {
			t.Error("tidelay_missed_pods is there, though nobody knows")
		}
		failedAt := controller.lastCheck(t)
		must(t, set(t.Context(), shipped))
		n.hasCondition("basic", "Unknown no_pods")
		eventually(t, 10*time.Second, func() error {
			if controller.lastCheck(t) == failedAt {
				return errors.New("no check has worked since")
			}
			return nil
		})
	}
}

// lastCheck is when the last check worked, as Unix time.
func (p *process) lastCheck(t *testing.T) float64 {
	t.Helper()
	metrics := p.scrape(t, "tidelay_missed_check_last_success_timestamp_seconds")
	if len(metrics) != 1 {
		t.Fatalf("the metric of the last check is there %d times", len(metrics))
	}
	return metrics[0].GetGauge().GetValue()
}

// An agent that kubelet can't start is told by kubelet's reason, and so is another process
// that answers in its place.
func TestAgentNotRunningIsTold(t *testing.T) {
	n := newNamespace(t)
	eventuallyInjects(t)
	stored, _ := n.post(n.tikv(optedIn()), wet)
	if agents(stored) != 1 {
		t.Fatal("the pod was not injected")
	}
	controller := newLeader(t)
	n.hasCondition("basic", "True injected")
	status := func(state corev1.ContainerState) {
		stored.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "tidelay-agent", State: state}}
		must(t, world.client.Status().Update(t.Context(), stored))
	}
	status(corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}})
	message := n.hasCondition("basic", "False agent_not_running")
	if want := "the agent does not run in 1 of 1 pods: " + stored.Name + " (ImagePullBackOff of "; !strings.HasPrefix(message, want) {
		t.Errorf("message %q, want %q", message, want)
	}
	if event := n.eventOn("ImagePullBackOff of "); event.Reason != "agent_not_running" || event.Type != corev1.EventTypeWarning {
		t.Errorf("Event %s %s", event.Type, event.Reason)
	}
	if got, _ := controller.gauge(t, "tidelay_agents_not_running", n.name); got != 1 {
		t.Errorf("tidelay_agents_not_running is %v, want 1", got)
	}
	status(corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}})
	n.hasCondition("basic", "True injected")

	// It runs, and something else has its port.
	stored.Status.PodIP, stored.Status.PodIPs = "127.0.9.1", []corev1.PodIP{{IP: "127.0.9.1"}}
	listener, err := net.Listen("tcp", net.JoinHostPort(stored.Status.PodIP, strconv.Itoa(api.Port)))
	must(t, err)
	server := &http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	status(corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Now().Add(-time.Minute))}})
	if message := n.hasCondition("basic", "False agent_not_answering"); !strings.Contains(message, "something else has the agent's port") {
		t.Errorf("message %q", message)
	}
}
