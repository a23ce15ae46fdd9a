package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
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
				r.Object.Raw = []byte(`{"spec": {"containers": [{"name": "tidelay-agent", "volumeMounts": [{"name": "tidelay-state", "mountPath": "/run/tidelay"}]}]}}`)
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
			synctest.Test(t, test.run)
		})
	}
}

// run admits the pod, has the API server make it, and checks what is told.
func (test admissionTest) run(t *testing.T) {
	f := start(t, test.resolver, test.namespaces)
	request := createRequest(t, tikv(nil))
	if test.change != nil {
		test.change(&request)
	}
	response := f.admit(t, test.query, request)
	if test.want != injection.InternalError && (request.DryRun == nil || !*request.DryRun) {
		f.make(t, request, response)
	}
	time.Sleep(time.Minute) // every follow-up is over

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
	checkPrefixes(t, "Events", f.recorder.told(), events)
	f.checkMetrics(t, test.want, test.component)
}

func (f fixture) checkMetrics(t *testing.T, reason injection.Reason, component tidbcluster.Component) {
	t.Helper()
	counted := f.decisions(t)
	maps.DeleteFunc(counted, func(_ string, count float64) bool { return count == 0 })
	if diff := cmp.Diff(map[string]float64{fmt.Sprintf("%s %s", reason, component): 1}, counted); diff != "" {
		t.Errorf("tidelay_admission_decisions_total (-want +got):\n%s", diff)
	}
	if n, err := testutil.GatherAndCount(f.registry, "tidelay_admission_duration_seconds"); n != 1 || err != nil {
		t.Errorf("%d histograms of the duration, %v", n, err)
	}
	if problems, err := testutil.GatherAndLint(f.registry); len(problems) > 0 || err != nil {
		t.Errorf("metrics: %v %v", problems, err)
	}
}

// decisions returns the counter of decisions by "reason component".
func (f fixture) decisions(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := f.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "tidelay_admission_decisions_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range metric.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			found[labels["reason"]+" "+labels["component"]] = metric.GetCounter().GetValue()
		}
	}
	return found
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
	f := start(t, resolved(m), level{name: "baseline"})
	f.admit(t, "", createRequest(t, tikv(nil)))
	_, note, _ := strings.Cut(f.recorder.told()[0], "Pod/basic-tikv-0: ")
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
