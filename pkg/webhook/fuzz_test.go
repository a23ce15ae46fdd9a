package webhook

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// FuzzReview posts any bytes as an AdmissionReview. What an API server could
// have sent is allowed, and a patch is only for a member of the TidbCluster.
func FuzzReview(f *testing.F) {
	for _, pod := range goldenPods(f) {
		for _, owner := range []string{"basic-tikv", "basic-pd", "forged"} {
			f.Add(reviewOf(f, ownedPod(f, pod, owner)))
		}
	}
	for _, seed := range []string{
		``, `null`, `{}`, "\x00\xff", `[[[[`,
		`{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}`,
		`{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": null}`,
		`{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "1", "object": null}}`,
		`{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "1", "object": {"spec": {"containers": 5}}}}`,
		`{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "1", "object": {"apiVersion": "v1", "kind": "Secret"}}}`,
		`{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "request": {"uid": "1", "dryRun": true}}`,
	} {
		f.Add([]byte(seed))
	}
	handler := fuzzHandler(f, testConfig)
	f.Fuzz(func(t *testing.T, body []byte) {
		answer := post(t, handler, body)
		request, ok := decodeRequest(body)
		reason := injection.Injected
		if ok {
			reason = checkAnswer(t, answer, request.UID)
		}
		// A pod without a name that comes again and again is refused in the end.
		if len(answer.Patch) == 0 || reason == injection.Refused {
			return
		}
		pod := &corev1.Pod{}
		if err := kjson.UnmarshalCaseSensitivePreserveInts(request.Object.Raw, pod); err != nil {
			t.Fatalf("a patch for a pod that cannot be decoded: %v", err)
		}
		if reason != injection.Injected || request.Namespace != "db" || !isMember(pod) {
			t.Errorf("%s with a patch for a pod in %q that is no member: %s", reason, request.Namespace, request.Object.Raw)
		}
		unpatch(t, request.Object.Raw, answer.Patch)
	})
}

// FuzzPod admits pods put together from bytes. No pod is refused, one that the
// TidbCluster does not own is left alone, and what is added to one that it owns
// can be taken away again without a trace.
func FuzzPod(f *testing.F) {
	f.Add([]byte{}, "")
	f.Add(bytes.Repeat([]byte{1}, 64), "kept")
	f.Add(bytes.Repeat([]byte{0, 1, 2, 3}, 32), `{"nested": [1, null]}`)
	f.Add([]byte("a pod that is owned, and much beside"), "$(id) `id` \\ \n \x00 \u2028")
	configs := []injection.Config{testConfig, testConfig}
	configs[1].PullSecrets, configs[1].TokenSecret, configs[1].MaxDuration = []string{"mirror", "mirror2"}, "token", 3600e9
	handlers := []http.Handler{fuzzHandler(f, configs[0]), fuzzHandler(f, configs[1], tidbcluster.SidecarAnnotation, "native")}

	f.Fuzz(func(t *testing.T, choices []byte, text string) {
		c := chooser{rest: choices, text: text}
		which := c.number(2)
		handler := handlers[which]
		object := c.pod()
		raw, err := json.Marshal(object)
		if err != nil {
			t.Fatalf("the pod that was put together is no JSON: %v", err)
		}
		pod := &corev1.Pod{}
		decodable := kjson.UnmarshalCaseSensitivePreserveInts(raw, pod) == nil

		answer := post(t, handler, reviewOf(t, raw))
		reason := checkAnswer(t, answer, "b5a4")
		if usable := decodable && len(pod.Spec.Containers) > 0; usable && reason == injection.InternalError || !decodable && reason != injection.InternalError {
			t.Fatalf("%s for a pod with decodable=%t: %s", reason, decodable, raw)
		}
		if decodable && !isMember(pod) && reason != injection.NotMember && reason != injection.StaleOwner {
			t.Errorf("%s for a pod that is no member: %s", reason, raw)
		}
		if (reason == injection.Injected) != (len(answer.Patch) > 0) {
			t.Fatalf("%s with patch %s", reason, answer.Patch)
		}
		if reason != injection.Injected {
			return
		}
		patched := unpatch(t, raw, answer.Patch)
		if native := bytes.Contains(answer.Patch, []byte(`"/spec/initContainers/-"`)); native != (which == 1) {
			t.Errorf("a native sidecar: %t, want %t", native, which == 1)
		}
		again := post(t, handler, reviewOf(t, patched))
		if reason := checkAnswer(t, again, "b5a4"); reason != injection.AlreadyInjected || len(again.Patch) > 0 {
			t.Errorf("a second time: %s with patch %s", reason, again.Patch)
		}
	})
}

// checkAnswer checks what is true of every answer: it is allowed, it is for the request,
// and it has one of the reasons, which checkAnswer returns.
func checkAnswer[T ~string](t *testing.T, answer *admissionv1.AdmissionResponse, uid T) injection.Reason {
	t.Helper()
	if !answer.Allowed || string(answer.UID) != string(uid) || answer.Result == nil {
		t.Fatalf("answer %+v for UID %q: want it allowed, for that UID and with a result", answer, uid)
	}
	reason := injection.Reason(answer.Result.Message)
	if !slices.Contains(injection.Reasons(), reason) {
		t.Errorf("unknown reason %q", reason)
	}
	return reason
}

// unpatch applies patch to the raw pod, returns the result, and checks that it
// is the pod with an agent: taking that away gives the pod back, fields that
// nobody knows included.
func unpatch(t *testing.T, raw, patch []byte) []byte {
	t.Helper()
	patched := applyPatch(t, raw, patch)
	pod := &corev1.Pod{}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(patched, pod); err != nil {
		t.Fatalf("the patched pod cannot be decoded: %v\n%s", err, patched)
	}
	agents := slices.DeleteFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), func(c corev1.Container) bool { return c.Name != injection.ContainerName })
	if len(agents) != 1 {
		t.Fatalf("%d agents in %s", len(agents), patched)
	}
	for _, mount := range agents[0].VolumeMounts {
		if n := len(slices.DeleteFunc(slices.Clone(pod.Spec.Volumes), func(v corev1.Volume) bool { return v.Name != mount.Name })); n != 1 {
			t.Errorf("%d volumes called %s", n, mount.Name)
		}
	}
	before, after := asObject(t, raw), asObject(t, patched)
	takeAway(after, before)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("what stays when the agent is taken away (-pod +rest):\n%s\npatch: %s", diff, patch)
	}
	return patched
}

// takeAway removes what an injection adds from after, and from both what is
// empty where it adds to: an empty list and none are the same.
func takeAway(after, before map[string]any) {
	meta, oldMeta := field(after, "metadata"), field(before, "metadata")
	spec, oldSpec := field(after, "spec"), field(before, "spec")
	annotations, old := field(meta, "annotations"), field(oldMeta, "annotations")
	for _, key := range []string{injection.AdmissionAnnotation, injection.StatusAnnotation, injection.DefaultContainerAnnotation} {
		if value, had := old[key]; had && key != injection.DefaultContainerAnnotation {
			// Without our container these say nothing, and are written anew.
			annotations[key] = value
		} else if !had {
			delete(annotations, key)
		}
	}
	for _, name := range []string{"containers", "initContainers", "volumes", "imagePullSecrets"} {
		list, _ := spec[name].([]any)
		had, _ := oldSpec[name].([]any)
		spec[name] = list[:min(len(list), len(had))]
	}
	for _, parent := range []map[string]any{meta, oldMeta, spec, oldSpec} {
		for _, name := range []string{"annotations", "containers", "initContainers", "volumes", "imagePullSecrets"} {
			switch value := parent[name].(type) {
			case map[string]any:
				if len(value) == 0 {
					delete(parent, name)
				}
			case []any:
				if len(value) == 0 {
					delete(parent, name)
				}
			case nil:
				delete(parent, name)
			}
		}
	}
}

func field(object map[string]any, name string) map[string]any {
	value, _ := object[name].(map[string]any)
	return value
}

func asObject(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Fatal(err)
	}
	return object
}

// post asks handler and returns its answer. Whatever it is asked, it says 200
// and answers with a review.
func post(t *testing.T, handler http.Handler, body []byte) *admissionv1.AdmissionResponse {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, Path+"?timeout=3s", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	handler.ServeHTTP(w, r)
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &review); err != nil || w.Code != http.StatusOK || review.Response == nil {
		t.Fatalf("answer %d %q: %v", w.Code, w.Body, err)
	}
	return review.Response
}

// decodeRequest returns the request in body, and whether an API server could
// have sent it.
func decodeRequest(body []byte) (admissionv1.AdmissionRequest, bool) {
	review := admissionv1.AdmissionReview{}
	err := kjson.UnmarshalCaseSensitivePreserveInts(body, &review)
	if review.Request == nil {
		return admissionv1.AdmissionRequest{}, false
	}
	return *review.Request, err == nil && review.APIVersion == "admission.k8s.io/v1" && review.Kind == "AdmissionReview"
}

func reviewOf(t testing.TB, pod []byte) []byte {
	t.Helper()
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "b5a4", Namespace: "db", Operation: admissionv1.Create,
			Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Object: runtime.RawExtension{Raw: pod},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// goldenPods returns the pods of the golden test as JSON.
func goldenPods(t testing.TB) [][]byte {
	t.Helper()
	inputs, err := filepath.Glob(fixtures + "/*/in.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	var pods [][]byte
	for _, input := range inputs {
		pod, err := yaml.YAMLToJSON([]byte(readFile(t, input)))
		if err != nil {
			t.Fatal(err)
		}
		pods = append(pods, pod)
	}
	return pods
}
