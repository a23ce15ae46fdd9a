package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/tidelay/tidelay/pkg/injection"
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
type recorder struct{ events []string }

func (r *recorder) Eventf(regarding, related runtime.Object, eventType, reason, action, note string, args ...any) {
	cluster, pod := regarding.(*corev1.ObjectReference), related.(*corev1.ObjectReference)
	r.events = append(r.events, fmt.Sprintf("%s %s %s/%s %s %s/%s: %s",
		eventType, reason, cluster.Kind, cluster.Name, action, pod.Kind, pod.Name, fmt.Sprintf(note, args...)))
}

// fixture is a running Injector.
type fixture struct {
	server   *httptest.Server
	recorder *recorder
	registry *prometheus.Registry
}

func start(t *testing.T, r resolver, l level) fixture {
	t.Helper()
	f := fixture{recorder: &recorder{}, registry: prometheus.NewPedanticRegistry()}
	injector, err := New(Options{
		Decoder: admission.NewDecoder(clientgoscheme.Scheme), Gatherer: gathererOf(r, l), Events: f.recorder, Metrics: f.registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	f.server = httptest.NewServer(injector.Handler())
	t.Cleanup(f.server.Close)
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
	post, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.server.URL+Path+query, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	post.Header.Set("Content-Type", "application/json")
	answer, err := f.server.Client().Do(post)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	review = admissionv1.AdmissionReview{}
	if err := json.NewDecoder(answer.Body).Decode(&review); err != nil {
		t.Fatal(err)
	}
	if review.Kind != "AdmissionReview" || review.Response == nil {
		t.Fatalf("not an AdmissionReview with a response: %+v", review)
	}
	return review.Response
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

type admissionTest struct {
	resolver   resolver
	namespaces level
	change     func(*admissionv1.AdmissionRequest)
	query      string
	want       injection.Reason
	component  tidbcluster.Component
	event      string // how the Event begins, empty for none
	warnings   []string
}

func admissionTests() map[string]admissionTest {
	return map[string]admissionTest{
		"if the TidbCluster opts in, inject": {
			resolver: resolved(optedIn()), want: injection.Injected, component: "tikv",
			event: "Normal injected TidbCluster/basic Inject Pod/basic-tikv-0: pod basic-tikv-0 (tikv): the agent listens on port 2332",
		},
		"if it is a dry run, inject and send no Event": {
			resolver: resolved(optedIn()), want: injection.Injected, component: "tikv",
			change: func(r *admissionv1.AdmissionRequest) { r.DryRun = new(true) },
		},
		"if a component is unknown, inject and send an Event": {
			resolver: resolved(memberOf("tidelay.io/inject", "true", "tidelay.io/components", "tikv,nope")), want: injection.Injected, component: "tikv",
			event:    `Warning injected TidbCluster/basic Inject Pod/basic-tikv-0: pod basic-tikv-0 (tikv): the agent listens on port 2332; annotation tidelay.io/components: unknown component "nope"`,
			warnings: []string{`tidelay: annotation tidelay.io/components: unknown component "nope"`},
		},
		"if the namespace forbids NET_ADMIN, skip and send an Event": {
			resolver: resolved(optedIn()), namespaces: level{name: "baseline"}, want: injection.PodSecurity, component: "tikv",
			event:    `Warning pod_security TidbCluster/basic Inject Pod/basic-tikv-0: pod basic-tikv-0 (tikv): the namespace enforces Pod Security level "baseline"`,
			warnings: []string{`tidelay did not inject its agent (pod_security): the namespace enforces`},
		},
		"if the agent is there already, warn of a problem but send no second Event": {
			resolver: resolved(memberOf("tidelay.io/inject", "true", "tidelay.io/components", "tikv,nope")), want: injection.AlreadyInjected, component: "tikv",
			change: func(r *admissionv1.AdmissionRequest) {
				r.Object.Raw = []byte(`{"metadata": {"annotations": {"tidelay.io/status": "{}"}}, "spec": {"containers": [{"name": "tidelay-agent"}]}}`)
			},
			warnings: []string{`tidelay: annotation tidelay.io/components: unknown component "nope"`},
		},
		"if the TidbCluster does not opt in, skip quietly": {
			resolver: resolved(memberOf()), namespaces: level{err: errors.New("not asked for")}, want: injection.NotOptedIn, component: "tikv",
		},
		"if the opt-in makes no sense, skip and send an Event": {
			resolver: resolved(memberOf("tidelay.io/inject", "yes")), want: injection.NotOptedIn, component: "tikv",
			event:    "Warning not_opted_in TidbCluster/basic Inject Pod/basic-tikv-0: ",
			warnings: []string{`tidelay: annotation tidelay.io/inject is "yes"`},
		},
		"if the pod is no member, skip quietly": {
			resolver: unresolved(fmt.Errorf("a TidbMonitor's: %w", tidbcluster.ErrNotMember)), want: injection.NotMember,
		},
		"if the owner is gone, skip quietly": {
			resolver: unresolved(fmt.Errorf("gone: %w", tidbcluster.ErrStaleOwner)), want: injection.StaleOwner,
		},
		"if the lookup fails, skip and warn": {
			resolver: unresolved(errors.New("connection refused")), want: injection.LookupFailed,
			warnings: []string{"tidelay did not inject its agent (lookup_failed): connection refused"},
		},
		"if the namespace cannot be read, skip and send an Event": {
			resolver: resolved(optedIn()), namespaces: level{err: errors.New("forbidden")}, want: injection.LookupFailed, component: "tikv",
			event:    "Warning lookup_failed TidbCluster/basic",
			warnings: []string{"tidelay did not inject its agent (lookup_failed): forbidden"},
		},
		"if the deadline passes, skip and warn": {
			resolver: resolveFunc(func(ctx context.Context, _ string, _ *corev1.Pod) (tidbcluster.Membership, error) {
				<-ctx.Done()
				return tidbcluster.Membership{}, ctx.Err()
			}),
			query: "?timeout=10ms", want: injection.LookupFailed,
			warnings: []string{"tidelay did not inject its agent (lookup_failed): context deadline exceeded"},
		},
		"if the answer comes too late, send no Event": {
			resolver: resolveFunc(func(ctx context.Context, _ string, _ *corev1.Pod) (tidbcluster.Membership, error) {
				<-ctx.Done()
				return optedIn(), nil
			}),
			query: "?timeout=10ms", want: injection.Injected, component: "tikv",
		},
		"if the resolver panics, skip and warn": {
			resolver: resolveFunc(func(context.Context, string, *corev1.Pod) (tidbcluster.Membership, error) { panic("nil pointer") }),
			want:     injection.InternalError,
			warnings: []string{"tidelay did not inject its agent (internal_error): the injector panicked"},
		},
		"if the pod cannot be decoded, skip and warn": {
			resolver: resolved(optedIn()), want: injection.InternalError,
			change:   func(r *admissionv1.AdmissionRequest) { r.Object.Raw = []byte(`{"spec": {"containers": 5}}`) },
			warnings: []string{"tidelay did not inject its agent (internal_error): the pod cannot be decoded"},
		},
	}
}

func TestAdmission(t *testing.T) {
	for name, test := range admissionTests() {
		t.Run(name, func(t *testing.T) {
			f := start(t, test.resolver, test.namespaces)
			request := createRequest(t, tikv(nil))
			if test.change != nil {
				test.change(&request)
			}
			response := f.admit(t, test.query, request)

			if !response.Allowed || response.UID != request.UID {
				t.Errorf("allowed %v for UID %q, want true for %q", response.Allowed, response.UID, request.UID)
			}
			if got := injection.Reason(response.Result.Message); got != test.want {
				t.Errorf("reason %s, want %s", got, test.want)
			}
			if (response.Patch != nil) != (test.want == injection.Injected) {
				t.Errorf("patch %s for %s", response.Patch, test.want)
			}
			audit := map[string]string{"reason": string(test.want)}
			if test.component != "" {
				audit["cluster"], audit["component"] = "db/basic", string(test.component)
			}
			if diff := cmp.Diff(audit, response.AuditAnnotations); diff != "" {
				t.Errorf("audit annotations (-want +got):\n%s", diff)
			}
			checkPrefixes(t, "warnings", response.Warnings, test.warnings)
			var events []string
			if test.event != "" {
				events = []string{test.event}
			}
			checkPrefixes(t, "Events", f.recorder.events, events)
			f.checkMetrics(t, test.want, test.component)
		})
	}
}

func (f fixture) checkMetrics(t *testing.T, reason injection.Reason, component tidbcluster.Component) {
	t.Helper()
	want := fmt.Sprintf(`# HELP tidelay_admission_decisions_total Admissions answered, by reason and by the pod's component where it is known.
# TYPE tidelay_admission_decisions_total counter
tidelay_admission_decisions_total{component=%q,reason=%q} 1
`, component, reason)
	if err := testutil.GatherAndCompare(f.registry, strings.NewReader(want), "tidelay_admission_decisions_total"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(f.registry, "tidelay_admission_duration_seconds"); n != 1 || err != nil {
		t.Errorf("%d histograms of the duration, %v", n, err)
	}
	if problems, err := testutil.GatherAndLint(f.registry); len(problems) > 0 || err != nil {
		t.Errorf("metrics: %v %v", problems, err)
	}
}

func checkPrefixes(t *testing.T, what string, got, want []string) {
	t.Helper()
	ok := len(got) == len(want)
	for i := 0; ok && i < len(got); i++ {
		ok = strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		t.Errorf("%s %q, want them to begin with %q", what, got, want)
	}
}

// TestAdmissionNamespace takes the namespace from the request: the pod may not
// name its own, and its author must not choose another.
func TestAdmissionNamespace(t *testing.T) {
	asked := ""
	f := start(t, resolveFunc(func(_ context.Context, namespace string, _ *corev1.Pod) (tidbcluster.Membership, error) {
		asked = namespace
		return tidbcluster.Membership{}, tidbcluster.ErrNotMember
	}), level{})
	f.admit(t, "", createRequest(t, tikv(func(pod *corev1.Pod) { pod.Namespace = "elsewhere" })))
	if asked != "db" {
		t.Errorf("resolved in namespace %q, want the request's, db", asked)
	}
}

// TestNotesFitAnEvent cuts what the API server would refuse.
func TestNotesFitAnEvent(t *testing.T) {
	m := optedIn()
	m.Cluster = types.NamespacedName{Namespace: "db", Name: "basic"}
	m.OptIn.Problems = []string{strings.Repeat("ä", 2000)}
	f := start(t, resolved(m), level{})
	f.admit(t, "", createRequest(t, tikv(nil)))
	_, note, _ := strings.Cut(f.recorder.events[0], "Pod/basic-tikv-0: ")
	if len(note) > 1024 || !strings.HasSuffix(note, "ä...") {
		t.Errorf("the note has %d bytes and ends in %q", len(note), note[len(note)-8:])
	}
}

func TestNewRefuses(t *testing.T) {
	registry := prometheus.NewRegistry()
	for i, wantErr := range []bool{false, true} {
		if _, err := New(Options{Metrics: registry}); (err != nil) != wantErr {
			t.Errorf("registering metrics, time %d: %v", i+1, err)
		}
	}
}
