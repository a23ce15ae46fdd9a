package missed

import (
	"fmt"
	"slices"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/cabundle"
	"github.com/tidelay/tidelay/pkg/injection"
)

// Reasons why a pod that is created now would not be injected, whatever the pod and its
// TidbCluster are like: the API server does not call the injector for it. Each is
// called after the field of the MutatingWebhookConfiguration that is the cause, where
// there is one.
const (
	// WebhookMissing: there is no MutatingWebhookConfiguration, or it is empty.
	WebhookMissing injection.Reason = "webhook_missing"
	// WebhookRules: its rules leave out the creation of pods.
	WebhookRules injection.Reason = "webhook_rules"
	// NamespaceExcluded: its namespaceSelector leaves the pod's namespace out.
	NamespaceExcluded injection.Reason = "namespace_excluded"
	// WebhookObjectSelector: its objectSelector leaves the pod's labels out.
	WebhookObjectSelector injection.Reason = "webhook_object_selector"
	// WebhookMatchConditions: it has a condition that Tidelay has not installed.
	WebhookMatchConditions injection.Reason = "webhook_match_conditions"
	// WebhookClientConfig: its clientConfig does not lead to the injector's Service.
	WebhookClientConfig injection.Reason = "webhook_client_config"
	// WebhookCABundle: its caBundle has no CA that is valid now.
	WebhookCABundle injection.Reason = "webhook_ca_bundle"
	// InjectorNotReady: no replica of the injector is ready behind its Service.
	InjectorNotReady injection.Reason = "injector_not_ready"
	// InjectorUnreachable: replicas are ready, and the Service does not lead to them.
	InjectorUnreachable injection.Reason = "injector_unreachable"
)

// WebhookFailurePolicy is the reason of a webhook that keeps pods from being made at all
// while the injector does not answer. It is told beside an obstacle, or without one.
const WebhookFailurePolicy injection.Reason = "webhook_failure_policy"

// obstacleReasons lists the reasons of an obstacle: these, and those of an admission
// that are the same for every pod of a namespace.
func obstacleReasons() []injection.Reason {
	return []injection.Reason{
		WebhookMissing, WebhookRules, NamespaceExcluded, WebhookObjectSelector, WebhookMatchConditions, WebhookClientConfig,
		WebhookCABundle, InjectorNotReady, InjectorUnreachable, injection.PodSecurity, injection.ImageUnavailable,
	}
}

// Where the webhook is behind the injector's Service, as installed.
const (
	WebhookPath = "/inject"
	WebhookPort = 443
)

// MatchConditions returns the expressions of the webhook's matchConditions, as
// installed. All pods of TidbClusters fulfil them.
func MatchConditions() []string {
	return []string{`has(object.metadata.ownerReferences) && object.metadata.ownerReferences.exists(r,
  has(r.controller) && r.controller && (
    (r.kind == "StatefulSet" && (r.apiVersion.startsWith("apps/") || r.apiVersion.startsWith("apps.pingcap.com/"))) ||
    (r.kind == "ReplicaSet" && r.apiVersion.startsWith("apps/"))))`}
}

// obstacle is why no pod of a namespace that is created now would be injected.
type obstacle struct {
	reason injection.Reason
	// detail is a sentence with the object, the field and the value.
	detail string
}

// getsNoAnswer reports whether the API server asks and gets no answer. The webhook's
// failurePolicy then decides about the pod.
func (o *obstacle) getsNoAnswer() bool {
	return slices.Contains([]injection.Reason{WebhookClientConfig, WebhookCABundle, InjectorNotReady, InjectorUnreachable}, o.reason)
}

// obstacleFrom returns an obstacle with a reason of an admission, or nil if it is "".
func obstacleFrom(reason injection.Reason, detail string) *obstacle {
	if reason == "" {
		return nil
	}
	return &obstacle{reason, detail}
}

// webhook is the API server's way to the injector.
type webhook struct {
	// name is the name of the MutatingWebhookConfiguration.
	name string
	// configuration is nil if there is none.
	configuration *admissionregistrationv1.MutatingWebhookConfiguration
	// service is the Service of the injector.
	service types.NamespacedName
	// ready is whether a replica of the injector is ready behind the Service, or was a
	// moment ago.
	ready bool
	// unreachable says why the Service does not lead to a replica that is ready; empty
	// if it does, or if that was not tried.
	unreachable string
}

// caBundle returns the first CA bundle of the webhooks that has a CA that is valid now,
// or nil.
func (w *webhook) caBundle(now time.Time) []byte {
	if w.configuration == nil {
		return nil
	}
	for i := range w.configuration.Webhooks {
		if bundle := w.configuration.Webhooks[i].ClientConfig.CABundle; cabundle.Check(bundle, now) == nil {
			return bundle
		}
	}
	return nil
}

// strictness says that pods are not made while the injector does not answer, or "" if
// they are made without the agent then. A failurePolicy that is left out is Fail.
func (w *webhook) strictness() string {
	if w.configuration == nil {
		return ""
	}
	for i := range w.configuration.Webhooks {
		if policy := w.configuration.Webhooks[i].FailurePolicy; policy == nil || *policy != admissionregistrationv1.Ignore {
			return fmt.Sprintf(`MutatingWebhookConfiguration %s: failurePolicy is "Fail", want "Ignore"`, w.name)
		}
	}
	return ""
}

// obstacle returns why the API server would not have the injector see a pod with
// certain labels, in a namespace with certain labels, or nil if it would. Several
// webhooks are one too many, but one that works is enough.
func (w *webhook) obstacle(namespace, pod labels.Set, now time.Time) *obstacle {
	if w.configuration == nil {
		return &obstacle{WebhookMissing, fmt.Sprintf("there is no MutatingWebhookConfiguration %s", w.name)}
	}
	var first *obstacle
	for i := range w.configuration.Webhooks {
		found := w.obstacleOf(&w.configuration.Webhooks[i], namespace, pod, now)
		if found == nil {
			return nil
		}
		if first == nil {
			first = found
		}
	}
	if first == nil {
		return &obstacle{WebhookMissing, fmt.Sprintf("MutatingWebhookConfiguration %s has no webhooks", w.name)}
	}
	return first
}

// obstacleOf returns what obstacle does for one of the configuration's webhooks.
func (w *webhook) obstacleOf(hook *admissionregistrationv1.MutatingWebhook, namespace, pod labels.Set, now time.Time) *obstacle {
	because := func(reason injection.Reason, format string, args ...any) *obstacle {
		return &obstacle{reason, fmt.Sprintf("MutatingWebhookConfiguration %s: ", w.name) + fmt.Sprintf(format, args...)}
	}
	if !slices.ContainsFunc(hook.Rules, createsPods) {
		return because(WebhookRules, "no rule covers CREATE of pods of the core group, version v1")
	}
	if text, ok := selects(hook.NamespaceSelector, namespace); !ok {
		return because(NamespaceExcluded, "namespaceSelector %s leaves the namespace out", text)
	}
	if text, ok := selects(hook.ObjectSelector, pod); !ok {
		return because(WebhookObjectSelector, "objectSelector %s leaves out pods with the labels of this TidbCluster's", text)
	}
	if name, ok := foreignCondition(hook.MatchConditions); ok {
		return because(WebhookMatchConditions, "matchConditions %q is not as installed, so pods may be left out", name)
	}
	if text := clientConfigProblem(hook.ClientConfig, w.service); text != "" {
		return because(WebhookClientConfig, "clientConfig.%s", text)
	}
	if err := cabundle.Check(hook.ClientConfig.CABundle, now); err != nil {
		return because(WebhookCABundle, "caBundle: %v", err)
	}
	if !w.ready {
		return w.notReady()
	}
	if w.unreachable != "" {
		return w.notReached()
	}
	return nil
}

// notReady returns the obstacle of an injector that is away.
func (w *webhook) notReady() *obstacle {
	return &obstacle{InjectorNotReady, fmt.Sprintf("no replica of the injector is ready behind the Service %s", w.service)}
}

// notReached returns the obstacle of an injector that its Service does not lead to.
func (w *webhook) notReached() *obstacle {
	return &obstacle{InjectorUnreachable, fmt.Sprintf("replicas of the injector are ready, and the Service %s does not lead to them: %s", w.service, w.unreachable)}
}

// createsPods reports whether a rule covers the creation of pods, as the API server
// decides it (k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules).
func createsPods(rule admissionregistrationv1.RuleWithOperations) bool {
	has := func(all []string, want string) bool { return slices.Contains(all, "*") || slices.Contains(all, want) }
	create := slices.ContainsFunc(rule.Operations, func(o admissionregistrationv1.OperationType) bool {
		return o == admissionregistrationv1.Create || o == admissionregistrationv1.OperationAll
	})
	// "pods/*" covers the pod itself as well.
	pods := slices.ContainsFunc(rule.Resources, func(r string) bool {
		resource, sub, _ := strings.Cut(r, "/")
		return (resource == "*" || resource == "pods") && (sub == "" || sub == "*")
	})
	namespaced := rule.Scope == nil || *rule.Scope != admissionregistrationv1.ClusterScope
	return create && pods && namespaced && has(rule.APIGroups, "") && has(rule.APIVersions, "v1")
}

// selects reports whether a selector matches, and returns it as text. As in the
// configuration of a webhook, nil matches everything.
func selects(selector *metav1.LabelSelector, set labels.Set) (text string, ok bool) {
	if selector == nil {
		return "", true
	}
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return err.Error(), false
	}
	return fmt.Sprintf("%q", parsed), parsed.Matches(set)
}

// foreignCondition returns the name of the first condition that is not one of those
// that Tidelay installs. Expressions are compared and not evaluated. Conditions that
// were taken away leave out no pod.
func foreignCondition(conditions []admissionregistrationv1.MatchCondition) (name string, ok bool) {
	// YAML may be folded or indented in another way.
	words := func(expression string) string { return strings.Join(strings.Fields(expression), " ") }
	for _, condition := range conditions {
		if !slices.ContainsFunc(MatchConditions(), func(ours string) bool { return words(ours) == words(condition.Expression) }) {
			return condition.Name, true
		}
	}
	return "", false
}

// clientConfigProblem returns the field of a clientConfig that does not lead to the
// injector's Service, with its value and what is right, or "" if it does.
func clientConfigProblem(config admissionregistrationv1.WebhookClientConfig, want types.NamespacedName) string {
	service := config.Service
	switch {
	case config.URL != nil:
		return fmt.Sprintf("url is %q, want the Service %s", *config.URL, want)
	case service == nil:
		return fmt.Sprintf("service is empty, want %s", want)
	case service.Namespace != want.Namespace || service.Name != want.Name:
		return fmt.Sprintf("service is %s/%s, want %s", service.Namespace, service.Name, want)
	case service.Path == nil || *service.Path != WebhookPath:
		path := ""
		if service.Path != nil {
			path = *service.Path
		}
		return fmt.Sprintf("service.path is %q, want %q", path, WebhookPath)
	case service.Port != nil && *service.Port != WebhookPort:
		return fmt.Sprintf("service.port is %d, want %d", *service.Port, WebhookPort)
	}
	return ""
}
