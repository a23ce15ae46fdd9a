package webhook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

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
