package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tidelay/tidelay/pkg/injection"
)

// workload is the controller of one pod: it asks for it as often as it is told, each
// time in an admission of its own.
type workload struct {
	fixture
	t      *testing.T
	change func(*corev1.Pod)
	asked  int
}

// ask asks for the pod once and returns the reason of the answer.
func (w *workload) ask() (injection.Reason, func() *corev1.Pod) {
	w.t.Helper()
	request := createRequest(w.t, tikv(func(pod *corev1.Pod) {
		pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "basic-tikv", UID: "set", Controller: new(true)}}
		pod.Labels = map[string]string{"app.kubernetes.io/managed-by": "tidb-operator", "controller-revision-hash": "1"}
		if w.change != nil {
			w.change(pod)
		}
	}))
	w.asked++
	request.UID = types.UID(fmt.Sprintf("admission-%d", w.asked))
	answer := w.admit(w.t, "", request)
	reason := injection.Reason(answer.Result.Message)
	return reason, func() *corev1.Pod { return w.make(w.t, request, answer) }
}

// wants asks once for each of the reasons. The API server makes none of the pods.
func (w *workload) wants(reasons ...injection.Reason) {
	w.t.Helper()
	for _, want := range reasons {
		if got, _ := w.ask(); got != want {
			w.t.Errorf("ask %d is answered with %s, want %s", w.asked, got, want)
		}
	}
}

// generated makes a pod one of a ReplicaSet's.
func generated(pod *corev1.Pod) {
	pod.Name, pod.GenerateName = "", "basic-discovery-5d9c-"
	pod.Labels = map[string]string{"app.kubernetes.io/managed-by": "tidb-operator", "pod-template-hash": "1"}
}

// inBubble runs a test with a workload whose TidbCluster is opted in, once for a pod
// with a name and once for one whose name is generated.
func inBubble(t *testing.T, reads interceptor.Funcs, test func(t *testing.T, w *workload)) {
	t.Helper()
	for name, change := range map[string]func(*corev1.Pod){"with a name": nil, "with a generated name": generated} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test(t, &workload{t: t, change: change, fixture: startWith(t, resolved(optedIn()), level{}, reads)})
			})
		})
	}
}

// A pod that is refused with the agent is made without at the third time, which is
// told, and is tried with the agent again some time after it was made.
func TestRefusedPod(t *testing.T) {
	inBubble(t, interceptor.Funcs{}, func(t *testing.T, w *workload) {
		w.wants(injection.Injected, injection.Injected)
		reason, create := w.ask()
		if reason != injection.Refused {
			t.Fatalf("the third ask is answered with %s", reason)
		}
		pod := create()
		if injection.HasAgent(pod) || pod.Annotations["tidelay.io/not-injected"] != "refused" || len(pod.Annotations) != 2 || len(pod.Spec.Containers) != 1 {
			t.Errorf("the pod has annotations %v and %d containers", pod.Annotations, len(pod.Spec.Containers))
		}
		time.Sleep(time.Minute)
		checkPrefixes(t, "Events", w.recorder.told(), []string{
			"Warning refused TidbCluster/basic Inject Pod/" + tikv(w.change).Name + ": pod " + podName(tikv(w.change)) +
				" (tikv): the API server did not make it with the agent when it was asked for again and again; this request is answered without. The Events FailedCreate of StatefulSet basic-tikv",
		})
		decisions := w.decisions(t)
		if decisions["injected tikv"] != 2 || decisions["refused tikv"] != 1 {
			t.Errorf("decisions are counted as %v", decisions)
		}
		if err := w.made.Delete(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
		w.wants(injection.Refused)
		w.remake()
		time.Sleep(3 * time.Minute)
		w.wants(injection.Injected)
	})
}

// A StatefulSet that makes all its pods at once, or a ReplicaSet, tries them one after the
// other, begins anew after each refusal, and waits twice as long each time
// (k8s.io/kubernetes/pkg/controller/statefulset; client-go's ItemExponentialFailureRateLimiter).
func TestRefusedPodsMadeAtOnce(t *testing.T) {
	inBubble(t, interceptor.Funcs{}, func(t *testing.T, w *workload) {
		var refusals, made int
		generate := w.change != nil
		started := time.Now()
		for backOff := 5 * time.Millisecond; made < 8; backOff *= 2 {
			for ; made < 8; made++ {
				if !generate {
					w.change = func(pod *corev1.Pod) { pod.Name = fmt.Sprintf("basic-tikv-%d", made) }
				}
				reason, create := w.ask()
				if reason == injection.Injected {
					refusals++
					break
				}
				create()
			}
			time.Sleep(backOff)
		}
		if took := time.Since(started); refusals != 2 || took > time.Second {
			t.Errorf("%d requests were refused, and it took %s to make the pods", refusals, took)
		}
	})
}

// remake asks again and has the pod made.
func (w *workload) remake() {
	w.t.Helper()
	_, create := w.ask()
	create()
}

// A pod that is refused without the agent too is not refused for the agent. So it is asked
// for with and without in turn. When what refused it is gone, it is made of the next answer,
// and the one after it has the agent again.
func TestPodRefusedAnyway(t *testing.T) {
	const longest = 1000 * time.Second // between two tries of a controller
	for _, first := range []time.Duration{5 * time.Millisecond, time.Minute, longest} {
		for _, freedAt := range []injection.Reason{injection.Injected, injection.Refused} {
			inBubble(t, interceptor.Funcs{}, func(t *testing.T, w *workload) {
				backOff := first
				wait := func() {
					time.Sleep(backOff)
					backOff = min(2*backOff, longest)
				}
				w.wants(injection.Injected)
				for range 5 {
					wait()
					w.wants(injection.Injected)
					wait()
					w.wants(injection.Refused)
				}
				wait()
				if freedAt == injection.Refused {
					w.wants(injection.Injected)
					wait()
				}
				reason, create := w.ask()
				pod := create()
				if reason != freedAt || injection.HasAgent(pod) != (freedAt == injection.Injected) {
					t.Errorf("when nothing refuses the pod, it is answered with %s, want %s", reason, freedAt)
				}
				time.Sleep(time.Minute)
				if freedAt == injection.Refused {
					if err := w.made.Delete(t.Context(), pod); err != nil {
						t.Fatal(err)
					}
					time.Sleep(seriesWindow)
				}
				w.wants(injection.Injected)
			})
		}
	}
}

// A pod that is refused even with an annotation of ours is left as it is, which is tried
// every fourth time. Otherwise it says that it was refused.
func TestPodRefusedForItsAnnotations(t *testing.T) {
	inBubble(t, interceptor.Funcs{}, func(t *testing.T, w *workload) {
		w.wants(injection.Injected)
		var marked []bool
		for range 8 {
			w.wants(injection.Injected)
			reason, create := w.ask()
			pod := create()
			if reason != injection.Refused || injection.HasAgent(pod) {
				t.Fatalf("ask %d is answered with %s", w.asked, reason)
			}
			_, isMarked := pod.Annotations["tidelay.io/not-injected"]
			marked = append(marked, isMarked)
			if err := w.made.Delete(t.Context(), pod); err != nil { // it was not made after all
				t.Fatal(err)
			}
			time.Sleep(1280 * time.Millisecond) // the first back-off after a pod is left as it is
		}
		if want := []bool{true, true, true, false, true, true, true, false}; !slices.Equal(marked, want) {
			t.Errorf("marked: %t, want %t", marked, want)
		}
	})
}

// A controller that has failed for hours, by other causes, asks every 1000 seconds.
func TestRefusedPodOfASlowController(t *testing.T) {
	inBubble(t, interceptor.Funcs{}, func(_ *testing.T, w *workload) {
		for _, want := range []injection.Reason{injection.Injected, injection.Injected, injection.Refused} {
			w.wants(want)
			time.Sleep(1000 * time.Second)
		}
	})
}

// A pod that is made each time it is asked for gets the agent each time, however
// quickly it is deleted and asked for again.
func TestPodDeletedAgainAndAgain(t *testing.T) {
	inBubble(t, interceptor.Funcs{}, func(t *testing.T, w *workload) {
		for range 10 {
			reason, create := w.ask()
			if reason != injection.Injected {
				t.Fatalf("ask %d is answered with %s", w.asked, reason)
			}
			pod := create()
			time.Sleep(2 * time.Second)
			if err := w.made.Delete(t.Context(), pod); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if len(w.recorder.told()) != 10 || !strings.HasPrefix(w.recorder.told()[0], "Normal injected TidbCluster/basic") {
			t.Errorf("Events %q, want one for each pod", w.recorder.told())
		}
	})
}

// A ReplicaSet asks for all its pods at once.
func TestManyPodsOfAReplicaSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workload{t: t, change: generated, fixture: start(t, resolved(optedIn()), level{})}
		for range 10 {
			reason, create := w.ask()
			if reason != injection.Injected {
				t.Fatalf("ask %d is answered with %s", w.asked, reason)
			}
			create()
		}
		time.Sleep(time.Minute)
		if len(w.recorder.told()) != 10 {
			t.Errorf("%d Events, want one for each pod", len(w.recorder.told()))
		}
	})
}

// Pods of the same ReplicaSet that were there before do not hide that new ones are
// refused.
func TestRefusedPodBesideOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workload{t: t, change: generated, fixture: start(t, resolved(optedIn()), level{})}
		_, create := w.ask()
		create()
		time.Sleep(time.Second + time.Millisecond)
		w.wants(injection.Injected, injection.Injected, injection.Refused)
	})
}

// While the API server does not tell whether the pod was made, it is injected, but not
// for ever.
func TestOutcomeUnknown(t *testing.T) {
	down := errors.New("the API server does not answer")
	reads := interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return down
		},
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return down },
	}
	inBubble(t, reads, func(t *testing.T, w *workload) {
		for range 9 {
			w.wants(injection.Injected)
		}
		w.wants(injection.Refused)
		time.Sleep(time.Minute)
		if got := testutil.ToFloat64(w.injector.metrics.followUps.WithLabelValues("unknown")); got != 10 {
			t.Errorf("%v outcomes are not known, want 10", got)
		}
	})
}

// A read that hangs takes a part of the time of the admission, not all of it.
func TestLookupHangs(t *testing.T) {
	reads := interceptor.Funcs{
		Get: func(ctx context.Context, _ client.WithWatch, _ client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
			<-ctx.Done()
			return ctx.Err()
		},
	}
	synctest.Test(t, func(t *testing.T) {
		w := &workload{t: t, fixture: startWith(t, resolved(optedIn()), level{}, reads)}
		w.wants(injection.Injected, injection.Injected)
		started := time.Now()
		w.wants(injection.Injected)
		if took := time.Since(started); took > time.Second {
			t.Errorf("the answer took %s", took)
		}
	})
}

// A dry run neither counts nor is followed.
func TestDryRunsDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, resolved(optedIn()), level{})
		for range 10 {
			request := createRequest(t, tikv(nil))
			request.DryRun = new(true)
			if got := injection.Reason(f.admit(t, "", request).Result.Message); got != injection.Injected {
				t.Errorf("a dry run is answered with %s", got)
			}
		}
		time.Sleep(time.Minute)
		if len(f.injector.refusals.series.Keys()) > 0 || len(f.recorder.told()) > 0 {
			t.Errorf("a dry run left %d series and Events %q", len(f.injector.refusals.series.Keys()), f.recorder.told())
		}
	})
}

func TestEventsOnlyOfWhatHappened(t *testing.T) {
	tests := map[string]func(w *workload){
		"if it is not made": func(w *workload) { w.wants(injection.Injected) },
		"if the agent is taken away": func(w *workload) {
			w.wants(injection.Injected)
			w.make(w.t, createRequest(w.t, tikv(nil)), &admissionv1.AdmissionResponse{})
		},
		"if it is there from before": func(w *workload) {
			pod := tikv(nil)
			pod.Annotations = map[string]string{"tidelay.io/status": "{}", "tidelay.io/admission": "other"}
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
				Name: "tidelay-agent", VolumeMounts: []corev1.VolumeMount{{Name: "tidelay-state", MountPath: "/run/tidelay"}},
			})
			w.make(w.t, createRequest(w.t, pod), &admissionv1.AdmissionResponse{})
			w.wants(injection.Injected)
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &workload{t: t, fixture: start(t, resolved(optedIn()), level{})}
				test(w)
				time.Sleep(time.Minute)
				checkPrefixes(t, "Events", w.recorder.told(), nil)
			})
		})
	}
}

// Admissions never wait for follow-ups, however many there are.
func TestFollowUpsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, resolved(optedIn()), level{})
		started := time.Now()
		const all = 4 * maxFollowUps
		for i := range all {
			f.admit(t, "", createRequest(t, tikv(func(pod *corev1.Pod) { pod.Name = fmt.Sprintf("basic-tikv-%d", i) })))
			synctest.Wait()
		}
		if took := time.Since(started); took > 0 {
			t.Errorf("the admissions waited for %s", took)
		}
		// As many are under way as wait, and one is about to begin.
		const followed = 2*maxFollowUps + 1
		if dropped := testutil.ToFloat64(f.injector.metrics.followUps.WithLabelValues("dropped")); dropped != all-followed {
			t.Errorf("%v of %d admissions are not followed, want all but %d", dropped, all, followed)
		}
	})
}
