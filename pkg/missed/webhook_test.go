package missed

import (
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/cabundle"
	"github.com/tidelay/tidelay/pkg/cabundle/catest"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// certificateOf returns a certificate in PEM that is valid for an hour around a time.
func certificateOf(t *testing.T, isCA bool, at time.Time) []byte {
	t.Helper()
	from, to := at.Add(-time.Hour), at.Add(time.Hour)
	ca := catest.New(t, "tidelay-injector-ca", from, to)
	if !isCA {
		return cabundle.Encode(ca.Leaf(t, "tidelay-injector", from, to))
	}
	return cabundle.Encode(ca.Certificate)
}

var injector = types.NamespacedName{Namespace: "tidelay-system", Name: "tidelay-injector"}

// installed is the webhook as the manifests install it, with a CA.
func installed(ca []byte) admissionregistrationv1.MutatingWebhook {
	hook := admissionregistrationv1.MutatingWebhook{
		Name: "inject.tidelay.io",
		Rules: []admissionregistrationv1.RuleWithOperations{{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}, Scope: new(admissionregistrationv1.NamespacedScope)},
		}},
		NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
			Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"kube-system"},
		}}},
		AdmissionReviewVersions: []string{"v1"}, FailurePolicy: new(admissionregistrationv1.Ignore),
		ObjectSelector: &metav1.LabelSelector{MatchLabels: tidbcluster.OperatorLabels()},
		ClientConfig: admissionregistrationv1.WebhookClientConfig{CABundle: ca, Service: &admissionregistrationv1.ServiceReference{
			Namespace: injector.Namespace, Name: injector.Name, Path: new(WebhookPath), Port: new(int32(WebhookPort)),
		}},
	}
	for _, expression := range MatchConditions() {
		hook.MatchConditions = append(hook.MatchConditions, admissionregistrationv1.MatchCondition{Name: "ours", Expression: expression})
	}
	return hook
}

func TestObstacle(t *testing.T) {
	now := time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)
	good := certificateOf(t, true, now)
	type hook = admissionregistrationv1.MutatingWebhook
	rule := func(change func(*admissionregistrationv1.RuleWithOperations)) func(*hook) {
		return func(h *hook) { change(&h.Rules[0]) }
	}
	tests := map[string]struct {
		change func(*hook)
		want   injection.Reason
		says   string
	}{
		"as installed": {change: func(*hook) {}},
		"rules that cover everything": {change: rule(func(r *admissionregistrationv1.RuleWithOperations) {
			all := []string{"*"}
			r.APIGroups, r.APIVersions, r.Resources, r.Scope = all, all, all, nil
			r.Operations = []admissionregistrationv1.OperationType{admissionregistrationv1.OperationAll}
		})},
		"rules for pods and what is below": {change: rule(func(r *admissionregistrationv1.RuleWithOperations) { r.Resources = []string{"pods/*"} })},
		"no selectors and no conditions":   {change: func(h *hook) { h.NamespaceSelector, h.ObjectSelector, h.MatchConditions = nil, nil, nil }},
		"a condition in another layout": {change: func(h *hook) {
			h.MatchConditions[0].Expression = strings.ReplaceAll(h.MatchConditions[0].Expression, "\n", " \n\t")
		}},
		"no port, which is 443": {change: func(h *hook) { h.ClientConfig.Service.Port = nil }},
		"an old CA after the new one": {change: func(h *hook) {
			h.ClientConfig.CABundle = append(certificateOf(t, true, now.Add(-24*time.Hour)), good...)
		}},

		"no rules": {change: func(h *hook) { h.Rules = nil }, want: WebhookRules},
		"rules for updates": {change: rule(func(r *admissionregistrationv1.RuleWithOperations) {
			r.Operations = []admissionregistrationv1.OperationType{admissionregistrationv1.Update}
		}), want: WebhookRules, says: "no rule covers CREATE of pods"},
		"rules for Services":        {change: rule(func(r *admissionregistrationv1.RuleWithOperations) { r.Resources = []string{"services"} }), want: WebhookRules},
		"rules for what is in pods": {change: rule(func(r *admissionregistrationv1.RuleWithOperations) { r.Resources = []string{"pods/exec"} }), want: WebhookRules},
		"rules for another group":   {change: rule(func(r *admissionregistrationv1.RuleWithOperations) { r.APIGroups = []string{"apps"} }), want: WebhookRules},
		"rules for another version": {change: rule(func(r *admissionregistrationv1.RuleWithOperations) { r.APIVersions = []string{"v2"} }), want: WebhookRules},
		"rules without namespaces": {change: rule(func(r *admissionregistrationv1.RuleWithOperations) {
			r.Scope = new(admissionregistrationv1.ClusterScope)
		}), want: WebhookRules},
		"a namespaceSelector that leaves out": {
			change: func(h *hook) { h.NamespaceSelector.MatchExpressions[0].Values = []string{"db"} },
			want:   NamespaceExcluded, says: `namespaceSelector "kubernetes.io/metadata.name notin (db)"`,
		},
		"an objectSelector that leaves out": {
			change: func(h *hook) { h.ObjectSelector.MatchLabels["a"] = "b" },
			want:   WebhookObjectSelector, says: `objectSelector "a=b,app.kubernetes.io/managed-by=tidb-operator"`,
		},
		"an objectSelector that makes no sense": {change: func(h *hook) {
			h.ObjectSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}}
		}, want: WebhookObjectSelector, says: "Like"},
		"another condition": {change: func(h *hook) {
			h.MatchConditions = append(h.MatchConditions, admissionregistrationv1.MatchCondition{Name: "never", Expression: "false"})
		}, want: WebhookMatchConditions, says: `matchConditions "never"`},
		"a changed condition": {change: func(h *hook) { h.MatchConditions[0].Expression = "!" + h.MatchConditions[0].Expression }, want: WebhookMatchConditions},
		"a URL":               {change: func(h *hook) { h.ClientConfig.URL, h.ClientConfig.Service = new("https://localhost"), nil }, want: WebhookClientConfig, says: `clientConfig.url is "https://localhost", want the Service tidelay-system/tidelay-injector`},
		"no Service":          {change: func(h *hook) { h.ClientConfig.Service = nil }, want: WebhookClientConfig},
		"another namespace":   {change: func(h *hook) { h.ClientConfig.Service.Namespace = "db" }, want: WebhookClientConfig, says: "service is db/tidelay-injector"},
		"another Service":     {change: func(h *hook) { h.ClientConfig.Service.Name = "a" }, want: WebhookClientConfig, says: "service is tidelay-system/a"},
		"another path":        {change: func(h *hook) { h.ClientConfig.Service.Path = new("/") }, want: WebhookClientConfig, says: `service.path is "/", want "/inject"`},
		"no path":             {change: func(h *hook) { h.ClientConfig.Service.Path = nil }, want: WebhookClientConfig, says: `service.path is ""`},
		"another port":        {change: func(h *hook) { h.ClientConfig.Service.Port = new(int32(80)) }, want: WebhookClientConfig, says: "service.port is 80, want 443"},
		"no CA":               {change: func(h *hook) { h.ClientConfig.CABundle = nil }, want: WebhookCABundle, says: "caBundle: empty"},
		"a word for a CA":     {change: func(h *hook) { h.ClientConfig.CABundle = []byte("garbage") }, want: WebhookCABundle, says: "no certificate in it can be read"},
		"a leaf for a CA":     {change: func(h *hook) { h.ClientConfig.CABundle = certificateOf(t, false, now) }, want: WebhookCABundle, says: "is not that of a CA"},
		"an expired CA":       {change: func(h *hook) { h.ClientConfig.CABundle = certificateOf(t, true, now.Add(-2*time.Hour)) }, want: WebhookCABundle, says: "expired at 2030-01-31T11:00:00Z"},
		"a CA of tomorrow":    {change: func(h *hook) { h.ClientConfig.CABundle = certificateOf(t, true, now.Add(24*time.Hour)) }, want: WebhookCABundle, says: "not valid before"},
	}
	namespace := labels.Set{"kubernetes.io/metadata.name": "db"}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := installed(good)
			test.change(&h)
			w := &webhook{name: "tidelay-injector", service: injector, ready: true, configuration: &admissionregistrationv1.MutatingWebhookConfiguration{Webhooks: []hook{h}}}
			wantObstacle(t, w.obstacle(namespace, tidbcluster.OperatorLabels(), now), test.want, test.says)
		})
	}
}

func wantObstacle(t *testing.T, got *obstacle, want injection.Reason, says string) {
	t.Helper()
	switch {
	case want == "" && got != nil:
		t.Errorf("obstacle %s: %s; want none", got.reason, got.detail)
	case want != "" && (got == nil || got.reason != want || !strings.Contains(got.detail, says)):
		t.Errorf("obstacle %+v; want %s that says %q", got, want, says)
	}
}

func TestObstacleOfTheWholeWebhook(t *testing.T) {
	now := time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)
	good := installed(certificateOf(t, true, now))
	broken := good
	broken.Rules = nil
	type hooks = []admissionregistrationv1.MutatingWebhook
	tests := map[string]struct {
		missing     bool
		hooks       hooks
		notReady    bool
		unreachable string
		want        injection.Reason
		says        string
	}{
		"without a configuration":             {missing: true, notReady: true, want: WebhookMissing, says: "there is no MutatingWebhookConfiguration tidelay-injector"},
		"without a webhook in it":             {want: WebhookMissing, says: "has no webhooks"},
		"without a replica":                   {hooks: hooks{good}, notReady: true, want: InjectorNotReady, says: "behind the Service tidelay-system/tidelay-injector"},
		"with a Service that leads elsewhere": {hooks: hooks{good}, unreachable: "refused", want: InjectorUnreachable, says: "the Service tidelay-system/tidelay-injector does not lead to them: refused"},
		"with one that works":                 {hooks: hooks{broken, good}},
		"with two that do not work":           {hooks: hooks{broken, broken}, want: WebhookRules},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := &webhook{name: "tidelay-injector", service: injector, ready: !test.notReady, unreachable: test.unreachable}
			if !test.missing {
				w.configuration = &admissionregistrationv1.MutatingWebhookConfiguration{Webhooks: test.hooks}
			}
			wantObstacle(t, w.obstacle(nil, tidbcluster.OperatorLabels(), now), test.want, test.says)
		})
	}
}

func TestStrictness(t *testing.T) {
	ignore, fail := new(admissionregistrationv1.Ignore), new(admissionregistrationv1.Fail)
	for name, test := range map[string]struct {
		policies []*admissionregistrationv1.FailurePolicyType
		strict   bool
	}{
		"as installed": {policies: []*admissionregistrationv1.FailurePolicyType{ignore}},
		"no webhook":   {},
		"Fail":         {[]*admissionregistrationv1.FailurePolicyType{fail}, true},
		"left out":     {[]*admissionregistrationv1.FailurePolicyType{nil}, true},
		"one of two":   {[]*admissionregistrationv1.FailurePolicyType{ignore, fail}, true},
	} {
		w := &webhook{name: "tidelay-injector", configuration: &admissionregistrationv1.MutatingWebhookConfiguration{}}
		for _, policy := range test.policies {
			w.configuration.Webhooks = append(w.configuration.Webhooks, admissionregistrationv1.MutatingWebhook{FailurePolicy: policy})
		}
		if got := w.strictness(); (got != "") != test.strict || test.strict && !strings.Contains(got, `failurePolicy is "Fail", want "Ignore"`) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := (&webhook{}).strictness(); got != "" {
		t.Errorf("without a configuration: %q", got)
	}
}
