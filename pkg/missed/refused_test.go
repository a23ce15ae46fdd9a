package missed

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/injection"
)

// refused makes a pod one that the injector made without the agent.
func withoutRefused(p *corev1.Pod) {
	p.Annotations = map[string]string{injection.NotInjectedAnnotation: "refused"}
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "basic-tikv", UID: "set", Controller: new(true)}}
}

// failure is an Event of a StatefulSet that could not create a pod, of so many minutes
// ago.
func failure(name string, owner types.UID, reason string, ago time.Duration, message string) *corev1.Event {
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: "db", Name: name},
		InvolvedObject: corev1.ObjectReference{Kind: "StatefulSet", Name: "basic-tikv", UID: owner},
		Reason:         reason, Message: message, LastTimestamp: metav1.NewTime(time.Now().Add(-ago)),
	}
}

// The condition says what refuses a pod, also when the Event that said it is gone.
func TestCheckOfRefusedPods(t *testing.T) {
	const sentence = `create Pod basic-tikv-0 in StatefulSet basic-tikv failed error: pods "basic-tikv-0" is forbidden: no foreign images`
	event := failure("told", "set", "FailedCreate", time.Minute, sentence)
	w := newWorld(t, cluster("basic", "true"), pod("basic-tikv-0", "basic", withoutRefused), pod("basic-tikv-1", "basic"), event,
		failure("old", "set", "FailedCreate", time.Hour, "create Pod basic-tikv-0 failed: too early"),
		failure("other-pod", "set", "FailedCreate", 0, "create Pod basic-tikv-00 failed: of another pod"),
		failure("other-owner", "other", "FailedCreate", 0, "create Pod basic-tikv-0 failed: of another owner"),
		failure("other-reason", "set", "SuccessfulCreate", 0, "create Pod basic-tikv-0 successful"))
	w.checker.check(t.Context())
	w.wantConditions("basic", operators, "TidelayInjected False refused")
	want := "2 of 2 pods go without the agent: basic-tikv-0 (refused), basic-tikv-1 (missed); " +
		"those missed get it when they are next created, and Tidelay restarts none; " +
		"those refused are tried with the agent again when they are next created; the refusal: " + sentence
	if got := w.message("basic"); got != want {
		t.Errorf("message %q\nwant    %q", got, want)
	}
	w.wantGauge("tidelay_missed_pods{namespace=\"db\",tidbcluster=\"basic\"} 1\n")

	for _, gone := range []string{"told", "old", "other-pod"} {
		if err := w.client.Delete(t.Context(), &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: gone}}); err != nil {
			t.Fatal(err)
		}
	}
	w.checker.check(t.Context())
	w.checker.states = map[types.UID]*state{} // another replica leads
	w.checker.check(t.Context())
	w.eventsErr = errors.New("events is forbidden")
	w.checker.states = map[types.UID]*state{}
	w.checker.check(t.Context())
	if got := w.message("basic"); got != want || w.patches != 1 {
		t.Errorf("after the Events are gone, %d patches and message %q", w.patches, got)
	}
	if !strings.Contains(w.log.String(), "events is forbidden") {
		t.Errorf("the log does not say what failed:\n%s", w.log.String())
	}

	injectedNow := pod("basic-tikv-0", "basic", injected)
	if err := w.client.Update(t.Context(), injectedNow); err != nil {
		t.Fatal(err)
	}
	w.checker.check(t.Context())
	w.wantConditions("basic", operators, "TidelayInjected False missed")
	if got := w.message("basic"); strings.Contains(got, "refus") {
		t.Errorf("when no pod is refused, the message says %q", got)
	}
}

// Events are read from etcd, so they are listed when there may be something new in them,
// and not with each check.
func TestEventsAreListedOnChange(t *testing.T) {
	madeAgo := func(age time.Duration, uid types.UID) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			withoutRefused(p)
			p.UID, p.CreationTimestamp = uid, metav1.NewTime(time.Now().Add(-age).Truncate(time.Second))
		}
	}
	w := newWorld(t, cluster("basic", "true"), pod("basic-tikv-0", "basic", madeAgo(time.Minute, "1")))
	lists := func(what string, checks, want int) {
		t.Helper()
		before := w.eventLists
		for range checks {
			w.checker.check(t.Context())
		}
		if got := w.eventLists - before; got != want {
			t.Errorf("%s, %d checks list Events %d times, want %d", what, checks, got, want)
		}
	}
	replace := func(change func(*corev1.Pod)) {
		t.Helper()
		p := pod("basic-tikv-0", "basic", change)
		if err := errors.Join(w.client.Delete(t.Context(), p), w.client.Create(t.Context(), p)); err != nil {
			t.Fatal(err)
		}
	}
	lists("while nothing is known", 3, 3)
	if err := w.client.Create(t.Context(), failure("told", "set", "FailedCreate", 0, "basic-tikv-0: no")); err != nil {
		t.Fatal(err)
	}
	lists("once it is known", 3, 1)
	if err := w.client.Create(t.Context(), failure("newer", "set", "FailedCreate", -time.Minute, "basic-tikv-0: quota")); err != nil {
		t.Fatal(err)
	}
	lists("while the pods are the same", 3, 0)
	replace(madeAgo(0, "2"))
	lists("when another pod of that name is refused", 3, 1)
	if got := w.message("basic"); !strings.HasSuffix(got, "the refusal: basic-tikv-0: quota") {
		t.Errorf("message %q, want the newest refusal", got)
	}
	w.eventsErr = errors.New("down")
	replace(madeAgo(0, "3"))
	lists("while they can't be listed", 2, 2)
	w.eventsErr = nil
	lists("and then", 2, 1)
	replace(injected)
	lists("when none is refused", 2, 0)
	for _, gone := range []string{"told", "newer"} {
		if err := w.client.Delete(t.Context(), &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: gone}}); err != nil {
			t.Fatal(err)
		}
	}
	replace(madeAgo(2*time.Hour, "4"))
	lists("when the Events must be gone", 3, 1)
}

// When another pod is refused, or the same again, the condition tells of that refusal, also
// if its Event comes only after the check.
func TestRefusalOfTheNewestPod(t *testing.T) {
	const was, is = "the refusal: create Pod basic-tikv-0 failed: old", "failed: new"
	made := func(uid types.UID) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			withoutRefused(p)
			p.UID, p.CreationTimestamp = uid, metav1.NewTime(time.Now().Truncate(time.Second))
		}
	}
	for _, refused := range []string{"basic-tikv-0", "basic-tikv-1"} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, late %t", refused, late), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, cluster("basic", "true"), pod("basic-tikv-0", "basic", made("1")),
						failure("old", "set", "FailedCreate", 0, "create Pod basic-tikv-0 failed: old"))
					check := func(want string) {
						t.Helper()
						w.checker.check(t.Context())
						if got := w.message("basic"); !strings.HasSuffix(got, want) {
							t.Errorf("message %q, want it to end with %q", got, want)
						}
					}
					create := func(object client.Object) {
						t.Helper()
						if err := w.client.Create(t.Context(), object); err != nil {
							t.Fatal(err)
						}
					}
					check(was)
					time.Sleep(30 * time.Minute)
					if refused == "basic-tikv-0" {
						if err := w.client.Delete(t.Context(), pod("basic-tikv-0", "basic")); err != nil {
							t.Fatal(err)
						}
					}
					create(pod(refused, "basic", made("2")))
					event := failure("new", "set", "FailedCreate", 0, "create Pod "+refused+" failed: new")
					if late {
						check(was)
						time.Sleep(time.Minute)
					}
					create(event)
					check(is)
					// It is known now, and not looked for again.
					lists := w.eventLists
					time.Sleep(time.Minute)
					check(is)
					if w.eventLists != lists {
						t.Errorf("Events are listed %d times more", w.eventLists-lists)
					}
				})
			})
		}
	}
}

// A pod that never gets an Event of its own, like one made without the agent at the first
// request, is looked for until none can be expected.
func TestRefusedPodWithoutAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster("basic", "true"), failure("told", "set", "FailedCreate", 0, "create Pod basic-tikv-0 failed: no"),
			pod("basic-tikv-1", "basic", withoutRefused, func(p *corev1.Pod) { p.CreationTimestamp = metav1.Now() }))
		for range 10 {
			w.checker.check(t.Context())
			time.Sleep(time.Minute + time.Second)
		}
		if got := w.message("basic"); !strings.HasSuffix(got, "failed: no") || w.eventLists != 6 {
			t.Errorf("Events are listed %d times, want 6, and the message is %q", w.eventLists, got)
		}
	})
}

// A pod that was refused once and would not be injected now is told by what keeps it
// out now.
func TestRefusedPodThatIsNotToBeInjected(t *testing.T) {
	onHost := func(p *corev1.Pod) { p.Spec.HostNetwork = true }
	w := newWorld(t, cluster("basic", "true"), pod("basic-tikv-0", "basic", withoutRefused, onHost))
	w.checker.check(t.Context())
	w.wantConditions("basic", operators, "TidelayInjected False host_network")
}

func TestRefusalOf(t *testing.T) {
	series := failure("series", "set", "FailedCreate", time.Hour, "of a series")
	series.Series = &corev1.EventSeries{LastObservedTime: metav1.NowMicro()}
	tests := map[string]struct {
		events []corev1.Event
		want   string
	}{
		"if there is none":                     {},
		"if it is long, cut it":                {events: []corev1.Event{*failure("a", "set", "", 0, strings.Repeat("ä", 1000))}, want: strings.Repeat("ä", 250) + "..."},
		"if it has lines, make it one":         {events: []corev1.Event{*failure("a", "set", "", 0, "one\n\ttwo ")}, want: "one two"},
		"if none names the pod, the newest":    {events: []corev1.Event{*failure("a", "set", "", time.Hour, "old"), *failure("b", "set", "", 0, "new")}, want: "new"},
		"if it goes on, when it was last":      {events: []corev1.Event{*series, *failure("b", "set", "", time.Minute, "later")}, want: "of a series"},
		"if one names the pod, it, though old": {events: []corev1.Event{*failure("a", "set", "", time.Hour, `Pod "basic-tikv-0" no`), *failure("b", "set", "", 0, "new")}, want: `Pod "basic-tikv-0" no`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := refusalOf(test.events, map[string]refusedPod{"basic-tikv-0": {owner: "set"}}); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
