package missed

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// From the annotation to the last pod's restart, and to the annotation's end.
func TestCheck(t *testing.T) {
	old := pod("basic-tikv-0", "basic")
	w := newWorld(t,
		cluster("basic", "false"), cluster("other", "false"), cluster("whole", "true"),
		old, pod("basic-tikv-1", "basic", injected), pod("basic-init", "basic", done),
		pod("other-tikv-0", "other"), pod("whole-tikv-0", "whole", injected), pod("stray", "nobody"))

	w.checker.check(t.Context())
	w.wantConditions("basic", operators)
	w.wantConditions("other", operators)
	w.wantConditions("whole", operators, "TidelayInjected True injected")
	w.wantGauge("tidelay_missed_pods{namespace=\"db\",tidbcluster=\"whole\"} 0\n")

	w.annotate("basic", "true")
	for range 3 {
		w.checker.check(t.Context())
	}
	w.wantConditions("basic", operators, "TidelayInjected False missed")
	w.wantConditions("other", operators)
	w.wantGauge("tidelay_missed_pods{namespace=\"db\",tidbcluster=\"basic\"} 1\ntidelay_missed_pods{namespace=\"db\",tidbcluster=\"whole\"} 0\n")
	if len(w.events) != 1 || !strings.HasPrefix(w.events[0], "Warning missed basic Check: 1 of 2 pods go without the agent: basic-tikv-0 (missed)") {
		t.Errorf("events %q, want one about basic", w.events)
	}

	if err := w.client.Delete(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if err := w.client.Create(t.Context(), pod("basic-tikv-0", "basic", injected)); err != nil {
		t.Fatal(err)
	}
	w.checker.check(t.Context())
	w.wantConditions("basic", operators, "TidelayInjected True injected")

	w.annotate("basic", "false")
	w.checker.check(t.Context())
	w.wantConditions("basic", operators)
	w.wantGauge("tidelay_missed_pods{namespace=\"db\",tidbcluster=\"whole\"} 0\n")
	// One for whole, and for basic one each that something changed.
	if w.patches != 4 || len(w.events) != 1 {
		t.Errorf("%d patches and %d events, want 4 and 1", w.patches, len(w.events))
	}
	if w.log.Len() > 0 {
		t.Errorf("log:\n%s", w.log.String())
	}
}

// A pod that the API server will not ask about is not promised an agent.
func TestCheckOfAnExcludedNamespace(t *testing.T) {
	w := newWorld(t, cluster("basic", "true"), pod("basic-tikv-0", "basic"))
	w.excluded = true
	w.checker.check(t.Context())
	w.wantConditions("basic", operators, "TidelayInjected False namespace_excluded")
	w.wantGauge("tidelay_missed_pods{namespace=\"db\",tidbcluster=\"basic\"} 0\n")
}

// A pod that would be made without the agent, because its image can't be pulled, was
// not missed.
func TestCheckOfAnImageThatIsNotPulled(t *testing.T) {
	w := newWorld(t, cluster("basic", "true"), pod("basic-tikv-0", "basic"))
	w.image = "it can't be pulled"
	w.checker.check(t.Context())
	w.wantConditions("basic", operators, "TidelayInjected False image_unavailable")
	w.wantGauge("tidelay_missed_pods{namespace=\"db\",tidbcluster=\"basic\"} 0\n")
}

// Where every pod carries the agent, and the next one would not get it, all is not well.
func TestCheckOfWhatKeepsTheNextPodOut(t *testing.T) {
	for reason, change := range map[injection.Reason]func(*world){
		injection.ImageUnavailable: func(w *world) { w.image = "it can't be pulled" },
		injection.PodSecurity:      func(w *world) { w.level = "baseline" },
	} {
		for name, pods := range map[string][]client.Object{
			"all have it": {cluster("basic", "true"), pod("basic-tikv-0", "basic", injected)}, "there is none": {cluster("basic", "true")},
		} {
			t.Run(string(reason)+", "+name, func(t *testing.T) {
				w := newWorld(t, pods...)
				change(w)
				w.checker.check(t.Context())
				w.wantConditions("basic", operators, "TidelayInjected False "+string(reason))
				if got := w.message("basic"); !strings.Contains(got, "a pod that is created now goes without it") {
					t.Errorf("message %q", got)
				}
				if w.image != "" {
					w.image = "it can't be pulled, in other words"
				}
				w.checker.check(t.Context())
				if w.patches != 1 {
					t.Errorf("%d patches, want one: kubelet's words change with each try", w.patches)
				}
				if got := testutil.ToFloat64(w.checker.metrics.blocked.WithLabelValues("db", "basic", string(reason))); got != 1 {
					t.Errorf("tidelay_injection_blocked is %v for %s, want 1", got, reason)
				}
			})
		}
	}
}

// A pod that nobody can decide about is logged, and the others are checked.
func TestCheckOfAnImpossiblePod(t *testing.T) {
	w := newWorld(t, cluster("basic", "true"), pod("basic-tikv-0", "basic"), pod("basic-tikv-1", "panic"))
	w.checker.check(t.Context())
	w.wantConditions("basic", operators, "TidelayInjected False missed")
	if !strings.Contains(w.log.String(), "panic: impossible") || !strings.Contains(w.log.String(), "basic-tikv-1") {
		t.Errorf("the log does not say what happened:\n%s", w.log.String())
	}
}

// What can't be read for a moment changes nothing that was said. After a while the
// condition says that it is no longer known, and when it last was; and again what is,
// as soon as that can be read.
func TestCheckFails(t *testing.T) {
	down := errors.New("the API server does not answer")
	for name, fail := range map[string]func(*world, error){
		"pods":                 func(w *world, err error) { w.listErr = err },
		"what is in the cache": func(w *world, err error) { w.readErr = err },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, cluster("basic", "true"), pod("basic-tikv-0", "basic"))
			w.checker.check(t.Context())
			last := w.lastSuccess()
			if since := time.Since(time.Unix(int64(last), 0)); since > time.Minute {
				t.Errorf("the last success was %s ago", since)
			}
			w.checker.metrics.last.WithLabelValues().Set(7)
			fail(w, down)
			for range patience - 1 {
				w.checker.check(t.Context())
			}
			w.wantConditions("basic", operators, "TidelayInjected False missed")
			w.wantGauge("tidelay_missed_pods{namespace=\"db\",tidbcluster=\"basic\"} 1\n")

			patches := w.patches
			for range 3 {
				w.checker.check(t.Context())
			}
			w.wantConditions("basic", operators, "TidelayInjected Unknown check_failed")
			w.wantGauge("")
			if w.patches != patches+1 {
				t.Errorf("%d patches, want 1", w.patches-patches)
			}
			checked := w.checker.states["uid-of-basic"].checked.UTC().Format(time.RFC3339)
			if message := w.message("basic"); !strings.Contains(message, "since "+checked) || !strings.Contains(message, down.Error()) {
				t.Errorf("message %q, want since %s and %q", message, checked, down)
			}
			if got := w.lastSuccess(); got != 7 {
				t.Errorf("last success %v, want that of before", got)
			}
			if !strings.Contains(w.log.String(), down.Error()) {
				t.Errorf("the log does not say why:\n%s", w.log.String())
			}

			fail(w, nil)
			w.checker.check(t.Context())
			w.wantConditions("basic", operators, "TidelayInjected False missed")
			w.wantGauge("tidelay_missed_pods{namespace=\"db\",tidbcluster=\"basic\"} 1\n")
			if w.lastSuccess() == 7 {
				t.Error("the check works again, and the metric does not say so")
			}
		})
	}
}

// A condition that can't be written is no success.
func TestConditionCannotBeWritten(t *testing.T) {
	w := newWorld(t, cluster("basic", "true"), pod("basic-tikv-0", "basic"))
	w.checker.metrics.begin(time.Minute)
	w.writeErr = errors.New("forbidden")
	w.checker.check(t.Context())
	if got := w.lastSuccess(); got != 0 {
		t.Errorf("last success at %v, want never", got)
	}
	w.writeErr = nil
	w.checker.check(t.Context())
	if w.lastSuccess() == 0 {
		t.Error("no success though the condition was written")
	}
}

// A pod that may belong to a TidbCluster and whose owners can't be read leaves it open
// whether all is well.
func TestCheckOfAPodWithoutKnownOwners(t *testing.T) {
	of := func(name string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Labels[tidbcluster.InstanceLabel] = name }
	}
	w := newWorld(t, cluster("basic", "true"), cluster("other", "true"),
		pod("basic-tikv-0", "basic", injected), pod("basic-tikv-1", "panic", of("basic")), pod("other-tikv-0", "other", injected))
	for range patience {
		w.checker.check(t.Context())
	}
	w.wantConditions("basic", operators, "TidelayInjected Unknown check_failed")
	w.wantConditions("other", operators, "TidelayInjected True injected")
	if message := w.message("basic"); !strings.Contains(message, "basic-tikv-1: panic: impossible") {
		t.Errorf("message %q does not name the pod", message)
	}
}

// What would not be injected now is not called missed, and injected pods are not
// promised a future.
func TestCheckWithoutAWebhook(t *testing.T) {
	w := newWorld(t, cluster("basic", "true"), cluster("whole", "true"), cluster("new", "true"),
		pod("basic-tikv-0", "basic"), pod("whole-tikv-0", "whole", injected))
	hook := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "tidelay-injector"}}
	if err := w.client.Delete(t.Context(), hook); err != nil {
		t.Fatal(err)
	}
	w.checker.check(t.Context())
	for _, name := range []string{"basic", "whole", "new"} {
		w.wantConditions(name, operators, "TidelayInjected False webhook_missing")
		if got := testutil.ToFloat64(w.checker.metrics.blocked.WithLabelValues("db", name, "webhook_missing")); got != 1 {
			t.Errorf("tidelay_injection_blocked of %s is %v, want 1", name, got)
		}
	}
	if len(w.events) > 0 {
		t.Errorf("events %q, want none about missed pods", w.events)
	}
	if message := w.message("whole"); !strings.HasPrefix(message, "1 of 1 pods carry the agent; a pod that is created now goes without it: there is no MutatingWebhookConfiguration tidelay-injector") {
		t.Errorf("message %q", message)
	}
}

// A single replica that is replaced is away for a moment, which is not told. One that is
// away in two checks in a row is, and so it is by a replica of the controller that begins to
// lead then.
func TestCheckWhileTheInjectorIsReplaced(t *testing.T) {
	w := newWorld(t, cluster("basic", "true"), pod("basic-tikv-0", "basic", injected))
	ready := func(yes bool) {
		t.Helper()
		slice := &discoveryv1.EndpointSlice{}
		if err := w.client.Get(t.Context(), types.NamespacedName{Namespace: injector.Namespace, Name: "tidelay-injector-x"}, slice); err != nil {
			t.Fatal(err)
		}
		slice.Endpoints[0].Conditions.Ready = &yes
		if err := w.client.Update(t.Context(), slice); err != nil {
			t.Fatal(err)
		}
	}
	for i, step := range []struct {
		ready, anotherLeads bool
		want                string
	}{
		{false, false, "True injected"},
		{true, false, "True injected"},
		{false, false, "True injected"},
		{false, false, "False injector_not_ready"},
		{false, true, "False injector_not_ready"},
		{false, false, "False injector_not_ready"},
		{true, false, "True injected"},
		{false, true, "True injected"},
	} {
		ready(step.ready)
		if step.anotherLeads {
			w.checker.away = recent[injection.Reason]{}
		}
		w.checker.check(t.Context())
		if got, want := w.conditions("basic"), []string{operators, "TidelayInjected " + step.want}; !cmp.Equal(got, want) {
			t.Errorf("check %d: conditions %q, want %q", i, got, want)
		}
	}
	if w.patches != 3 {
		t.Errorf("%d patches, want 3", w.patches)
	}
}

// An agent that does not run is told once.
func TestCheckOfAnAgentThatDoesNotRun(t *testing.T) {
	bad := pod("basic-tikv-0", "basic", injected, func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: injection.ContainerName, State: waiting("ImagePullBackOff", "no such image")}}
	})
	w := newWorld(t, cluster("basic", "true"), bad)
	for range 3 {
		w.checker.check(t.Context())
	}
	w.wantConditions("basic", operators, "TidelayInjected False agent_not_running")
	want := "Warning agent_not_running basic Check: the agent does not run in 1 of 1 pods: basic-tikv-0 (ImagePullBackOff of tidelay/agent:v1)"
	if len(w.events) != 1 || !strings.HasPrefix(w.events[0], want) {
		t.Errorf("events %q, want %q once", w.events, want)
	}
	gauge := w.checker.metrics.notRunning.WithLabelValues("db", "basic")
	if got := testutil.ToFloat64(gauge); got != 1 {
		t.Errorf("tidelay_agents_not_running is %v, want 1", got)
	}
	bad.Status.ContainerStatuses[0].State = runningSince(time.Now())
	if err := w.client.Status().Update(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	w.checker.check(t.Context())
	w.wantConditions("basic", operators, "TidelayInjected True injected")
	if got := testutil.ToFloat64(gauge); got != 0 {
		t.Errorf("tidelay_agents_not_running is %v, want 0", got)
	}
}

// A pod with an attached agent is not missed, and is told once that one does not run.
func TestCheckOfAttachedAgents(t *testing.T) {
	missed := pod("basic-pd-0", "basic")
	running, ended := runningSince(time.Now().Add(-time.Hour)), terminated(time.Now(), "")
	refused := pod("basic-pd-1", "basic", attached(running))
	refused.Annotations = map[string]string{injection.NotInjectedAnnotation: "refused"}
	for name, test := range map[string]struct {
		pods []client.Object
		want string // the message begins with
	}{
		"that run":        {[]client.Object{pod("basic-pd-0", "basic", attached(running)), refused, pod("basic-pd-2", "basic", injected)}, "3 of 3 pods carry the agent, 2 of them attached while they ran"},
		"and a missed":    {[]client.Object{missed, pod("basic-pd-1", "basic", attached(running))}, "1 of 2 pods go without the agent: basic-pd-0 (missed)"},
		"one that ended":  {[]client.Object{pod("basic-pd-0", "basic", attached(ended))}, "the agent does not run in 1 of 1 pods: basic-pd-0 (attached, and ended: Error)"},
		"attached again":  {[]client.Object{pod("basic-pd-0", "basic", attached(ended), attached(running))}, "1 of 1 pods carry the agent, 1 of them attached"},
		"one that starts": {[]client.Object{pod("basic-pd-0", "basic", attached(waiting("ContainerCreating", "")))}, "1 of 1 pods carry the agent, 1 of them attached"},
		"without image":   {[]client.Object{pod("basic-pd-0", "basic", attached(waiting("ErrImagePull", "")))}, "the agent does not run in 1 of 1 pods: basic-pd-0 (ImagePullBackOff of tidelay/agent:v1)"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, append(test.pods, cluster("basic", "true"))...)
			for range 2 {
				w.checker.check(t.Context())
			}
			if got := w.message("basic"); !strings.HasPrefix(got, test.want) || w.patches != 1 {
				t.Errorf("%d patches and message %q, want one and %q", w.patches, got, test.want)
			}
		})
	}
}

// A replica that no longer leads reports nothing.
func TestStartEnds(t *testing.T) {
	w := newWorld(t, cluster("basic", "true"), pod("basic-tikv-0", "basic"))
	ctx, cancel := context.WithCancel(t.Context())
	w.checker.options.Log = logr.Discard()
	ended := make(chan struct{})
	go func() {
		if err := w.checker.Start(ctx); err != nil {
			t.Errorf("Start: %v", err)
		}
		close(ended)
	}()
	deadline := time.Now().Add(time.Minute)
	for testutil.CollectAndCount(w.checker.metrics.missed) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("no check was made")
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	<-ended
	w.wantGauge("")
}
