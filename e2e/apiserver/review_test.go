//go:build apiserver

package apiserver

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
)

// review asks the injector about a raw pod, as an API server of another
// version might.
func (n namespace) review(pod string) *admissionv1.AdmissionResponse {
	n.t.Helper()
	review := admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID:       uuid.NewUUID(),
			Kind:      metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource:  metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Namespace: n.name,
			Operation: admissionv1.Create,
			Object:    runtime.RawExtension{Raw: []byte(pod)},
		},
	}
	body, err := json.Marshal(review)
	must(n.t, err)
	status, answer := n.call(body)
	if status != http.StatusOK {
		n.t.Fatalf("the injector answered %d: %s", status, answer)
	}
	must(n.t, json.Unmarshal(answer, &review))
	if review.Response == nil || review.Response.UID != review.Request.UID {
		n.t.Fatalf("the injector answered another request: %s", answer)
	}
	return review.Response
}

// call posts a body to the injector over TLS, under the name of its Service.
func (n namespace) call(body []byte) (status int, answer []byte) {
	n.t.Helper()
	trust, err := world.trust(n.t.Context())
	must(n.t, err)
	transport := &http.Transport{TLSClientConfig: trust}
	defer transport.CloseIdleConnections()
	url := "https://" + world.injector.webhook + "/inject?timeout=3s"
	request, err := http.NewRequestWithContext(n.t.Context(), http.MethodPost, url, bytes.NewReader(body))
	must(n.t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := transport.RoundTrip(request)
	must(n.t, err)
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	must(n.t, err)
	return response.StatusCode, answer
}

// Fields that neither this API server nor the injector knows outlive the patch.
func TestUnknownFieldsAreKept(t *testing.T) {
	n := newNamespace(t)
	owner, err := json.Marshal(ownedBy(n.statefulSet("basic-tikv", n.cluster("basic", optedIn()))))
	must(t, err)
	sent := strings.ReplaceAll(`{
		"apiVersion": "v1", "kind": "Pod", "madeUp": {"deep": [1, {"x": null}]},
		"metadata": {
			"name": "basic-tikv-0", "madeUp": true,
			"labels": {"app.kubernetes.io/managed-by": "tidb-operator", "app.kubernetes.io/component": "tikv"},
			"annotations": {"example.com/kept": "yes"},
			"ownerReferences": OWNER
		},
		"spec": {
			"madeUp": "spec",
			"containers": [{"name": "tikv", "image": "pingcap/tikv", "madeUp": ["container"],
				"ports": [{"containerPort": 20160, "madeUp": 1}],
				"securityContext": {"madeUp": "security"},
				"readinessProbe": {"tcpSocket": {"port": 20160, "madeUp": 2}, "madeUp": 3}}],
			"initContainers": [{"name": "init", "image": "i", "madeUp": {}}],
			"volumes": [{"name": "v", "madeUpSource": {"a": "b"}}],
			"securityContext": {"madeUp": ["pod"]},
			"tolerations": [{"key": "k", "madeUp": "t"}]
		},
		"status": {"madeUp": "status"}
	}`, "OWNER", string(owner))
	response := n.review(sent)
	if got := response.AuditAnnotations["reason"]; !response.Allowed || got != "injected" {
		t.Fatalf("allowed %t for reason %q, want true for injected", response.Allowed, got)
	}

	patch, err := jsonpatch.DecodePatch(response.Patch)
	must(t, err)
	patched, err := patch.Apply([]byte(sent))
	must(t, err)
	var before, after any
	must(t, json.Unmarshal([]byte(sent), &before))
	must(t, json.Unmarshal(patched, &after))
	if lost := missing("", before, after); len(lost) != 0 {
		t.Errorf("the patch lost %s\npatch: %s", strings.Join(lost, ", "), response.Patch)
	}
	pod := &corev1.Pod{}
	must(t, json.Unmarshal(patched, pod))
	if agents(pod) != 1 {
		t.Errorf("the patched pod has %d agents, want 1", agents(pod))
	}
}

// missing lists the paths whose value in before is not the same in after.
// Lists may have grown at the end, objects by new fields.
func missing(path string, before, after any) []string {
	var lost []string
	switch before := before.(type) {
	case map[string]any:
		fields, _ := after.(map[string]any)
		for name, value := range before {
			kept, ok := fields[name]
			if !ok {
				lost = append(lost, path+"/"+name)
				continue
			}
			lost = append(lost, missing(path+"/"+name, value, kept)...)
		}
	case []any:
		items, _ := after.([]any)
		for i, value := range before {
			if i >= len(items) {
				return append(lost, path)
			}
			lost = append(lost, missing(path+"/"+strconv.Itoa(i), value, items[i])...)
		}
	default:
		if !cmp.Equal(before, after) {
			lost = append(lost, path)
		}
	}
	return lost
}

// What cannot be decoded is allowed, with a reason.
func TestUndecodablePod(t *testing.T) {
	n := newNamespace(t)
	before := world.injector.decisions(t)
	response := n.review(`{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": "none"}}`)
	if !response.Allowed || len(response.Patch) != 0 {
		t.Errorf("allowed %t with patch %s, want true and none", response.Allowed, response.Patch)
	}
	if got := response.AuditAnnotations["reason"]; got != "internal_error" {
		t.Errorf("audit annotation says %q, want internal_error", got)
	}
	want := map[decision]int{{"internal_error", ""}: 1}
	if diff := cmp.Diff(want, since(before, world.injector.decisions(t)), cmp.AllowUnexported(decision{})); diff != "" {
		t.Errorf("tidelay_admission_decisions_total (-want +got):\n%s", diff)
	}
}

// Nonsense does not bring the injector down.
func TestNonsense(t *testing.T) {
	for name, body := range map[string]string{
		"empty":         "",
		"not JSON":      "\x00\xff",
		"no request":    `{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}`,
		"another kind":  `{"apiVersion": "v1", "kind": "Pod"}`,
		"deeply nested": strings.Repeat("[", 100_000),
	} {
		t.Run(name, func(t *testing.T) {
			n := newNamespace(t)
			n.call([]byte(body))
			n.admit(n.tikv(optedIn())).wants(t, "injected", "tikv")
		})
	}
}
