//go:build apiserver

package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Another webhook that changes the pod after ours makes the API server ask ours again.
// It must not add a second agent, nor leave one on the node's network.
func TestReinvocation(t *testing.T) {
	for name, test := range map[string]struct{ patch, then string }{
		"annotation":    {`[{"op": "add", "path": "/metadata/annotations/example.com~1other", "value": "was here"}]`, "already_injected"},
		"container":     {`[{"op": "add", "path": "/spec/containers/-", "value": {"name": "other", "image": "other"}}]`, "already_injected"},
		"first":         {`[{"op": "add", "path": "/spec/containers/0", "value": {"name": "other", "image": "other"}}]`, "already_injected"},
		"status":        {`[{"op": "remove", "path": "/metadata/annotations/tidelay.io~1status"}]`, "already_injected"},
		"removed agent": {`[{"op": "remove", "path": "/spec/containers/1"}]`, "agent_removed"},
		"host network":  {`[{"op": "add", "path": "/spec/hostNetwork", "value": true}]`, "host_network"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNamespace(t)
			set := n.statefulSet("basic-tikv", n.cluster("basic", optedIn()))
			n.otherWebhook(test.patch)
			eventually(t, 10*time.Second, func() error {
				_, id := n.post(n.pod("basic-tikv-0", "tikv", set), dryRun)
				if world.audit.event(t, id).calls() != 2 {
					return errors.New("the API server did not call the injector again")
				}
				return nil
			})
			got := n.admit(n.pod("basic-tikv-0", "tikv", set))
			if is, want := agents(got.pod), map[string]int{"already_injected": 1}[test.then]; is != want {
				t.Errorf("pod has %d agents, want %d", is, want)
			}
			want := map[decision]int{{"injected", "tikv"}: 1, {test.then, "tikv"}: 1}
			if diff := cmp.Diff(want, got.decided, cmp.AllowUnexported(decision{})); diff != "" {
				t.Errorf("tidelay_admission_decisions_total (-want +got):\n%s", diff)
			}
		})
	}
}

// otherWebhook registers a webhook of somebody else, called after ours in this
// namespace, that patches every pod once.
func (n namespace) otherWebhook(patch string) {
	n.t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{
			UID: review.Request.UID, Allowed: true,
			Patch: []byte(patch), PatchType: new(admissionv1.PatchTypeJSONPatch),
		}
		_ = json.NewEncoder(w).Encode(review)
	}))
	n.t.Cleanup(server.Close)

	other := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "zz-after-" + n.name}, // they are called in the order of their names
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name:                    "other.example.com",
			AdmissionReviewVersions: []string{"v1"},
			ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: new(server.URL), CABundle: certificatePEM(server)},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: n.name}},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
			SideEffects: new(admissionregistrationv1.SideEffectClassNone),
		}},
	}
	n.make(other)
	n.t.Cleanup(func() { must(n.t, world.client.Delete(context.Background(), other)) })
}
