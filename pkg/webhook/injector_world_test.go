package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// resolver resolves pods in tests.
type resolver interface {
	Resolve(ctx context.Context, namespace string, pod *corev1.Pod) (tidbcluster.Membership, error)
	OperatorVersion(ctx context.Context, cluster types.NamespacedName) (string, error)
}

// resolveFunc is a resolver made of one method.
type resolveFunc func(ctx context.Context, namespace string, pod *corev1.Pod) (tidbcluster.Membership, error)

func (r resolveFunc) Resolve(ctx context.Context, namespace string, pod *corev1.Pod) (tidbcluster.Membership, error) {
	return r(ctx, namespace, pod)
}

// OperatorVersion is not known to any of them.
func (r resolveFunc) OperatorVersion(context.Context, types.NamespacedName) (string, error) {
	return "", nil
}

func resolved(m tidbcluster.Membership) resolveFunc {
	return func(context.Context, string, *corev1.Pod) (tidbcluster.Membership, error) { return m, nil }
}

func unresolved(err error) resolveFunc {
	return func(context.Context, string, *corev1.Pod) (tidbcluster.Membership, error) {
		return tidbcluster.Membership{}, err
	}
}

// level is the Pod Security level of every namespace, or an error.
type level struct {
	name string
	err  error
}

func (l level) EnforcedLevel(context.Context, string) (string, error) { return l.name, l.err }

// recorder remembers Events.
type recorder struct {
	mu     sync.Mutex
	events []string
}

func (r *recorder) Eventf(regarding, related runtime.Object, eventType, reason, action, note string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	cluster, pod := regarding.(*corev1.ObjectReference), related.(*corev1.ObjectReference)
	r.events = append(r.events, fmt.Sprintf("%s %s %s/%s %s %s/%s: %s",
		eventType, reason, cluster.Kind, cluster.Name, action, pod.Kind, pod.Name, fmt.Sprintf(note, args...)))
}

// told returns the Events until now.
func (r *recorder) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// fixture is a running Injector.
type fixture struct {
	injector *Injector
	handler  http.Handler
	recorder *recorder
	registry *prometheus.Registry
	// made are the pods that the API server has.
	made client.WithWatch
}

// start starts an Injector, which ends with the test.
func start(t *testing.T, r resolver, l level) fixture {
	t.Helper()
	return startWith(t, r, l, interceptor.Funcs{})
}

// startWith is start with an API server that answers reads of pods in its own way.
func startWith(t *testing.T, r resolver, l level, reads interceptor.Funcs) fixture {
	t.Helper()
	f := fixture{recorder: &recorder{}, registry: prometheus.NewPedanticRegistry(), made: fake.NewClientBuilder().Build()}
	var err error
	f.injector, err = New(Options{
		Decoder: admission.NewDecoder(clientgoscheme.Scheme), Gatherer: gathererOf(r, l), Events: f.recorder, Metrics: f.registry,
		Pods: interceptor.NewClient(f.made, reads), Limit: rate.NewLimiter(rate.Inf, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.handler = f.injector.Handler()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- f.injector.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Start: %v", err)
		}
	})
	return f
}

// admit sends request as the API server does and returns the answer.
func (f fixture) admit(t *testing.T, query string, request admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	t.Helper()
	review := admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request:  &request,
	}
	body, err := json.Marshal(review)
	if err != nil {
		t.Fatal(err)
	}
	post := httptest.NewRequestWithContext(t.Context(), http.MethodPost, Path+query, bytes.NewReader(body))
	post.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	f.handler.ServeHTTP(answer, post)
	review = admissionv1.AdmissionReview{}
	if err := json.NewDecoder(answer.Body).Decode(&review); err != nil {
		t.Fatal(err)
	}
	if review.Kind != "AdmissionReview" || review.Response == nil {
		t.Fatalf("not an AdmissionReview with a response: %+v", review)
	}
	return review.Response
}

// make makes the pod of an admission with the answer's patch, as the API server does
// if nobody else refuses it.
func (f fixture) make(t *testing.T, request admissionv1.AdmissionRequest, answer *admissionv1.AdmissionResponse) *corev1.Pod {
	t.Helper()
	raw := request.Object.Raw
	if len(answer.Patch) > 0 {
		raw = applyPatch(t, raw, answer.Patch)
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(raw, pod); err != nil {
		t.Fatal(err)
	}
	pod.Namespace = request.Namespace
	if pod.Name == "" {
		pod.Name = pod.GenerateName + string(request.UID)
	}
	if err := f.made.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

func createRequest(t *testing.T, pod *corev1.Pod) admissionv1.AdmissionRequest {
	t.Helper()
	raw, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	return admissionv1.AdmissionRequest{
		UID:       "b5a4",
		Kind:      metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Resource:  metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Namespace: "db",
		Name:      pod.Name,
		Operation: admissionv1.Create,
		Object:    runtime.RawExtension{Raw: raw},
	}
}
