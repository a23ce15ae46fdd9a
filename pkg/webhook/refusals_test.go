package webhook

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/injection"
)

// refusalTests are what happens to one pod, and how the next ask for it is answered. If it
// is looked up then, unmade is how it is answered when the pod is not there, and unknown
// when that can't be known.
var refusalTests = map[string]struct {
	steps           []func(*refusals)
	want            step
	unmade, unknown step
}{
	"if nobody asked before, inject":               {want: stepInject},
	"if it was asked for once, inject":             {steps: []func(*refusals){answer}, want: stepInject},
	"if it was asked for twice, look":              {steps: []func(*refusals){answer, answer}, want: stepLook, unmade: stepRefuse, unknown: stepInject},
	"if that was more than two minutes, inject":    {steps: []func(*refusals){answer, wait(time.Minute), answer, wait(61 * time.Second)}, want: stepInject},
	"if that was less, look":                       {steps: []func(*refusals){answer, wait(time.Minute), answer, wait(59 * time.Second)}, want: stepLook, unmade: stepRefuse},
	"if it was made, inject":                       {steps: []func(*refusals){answer, answer, made(true)}, want: stepInject},
	"if it was made by somebody else, inject":      {steps: []func(*refusals){answer, answer, made(false)}, want: stepInject},
	"if it was made in between, inject":            {steps: []func(*refusals){answer, made(true), answer}, want: stepInject},
	"if it is known to be unmade, look later too":  {steps: []func(*refusals){answer, unmade, wait(17 * time.Minute), answer, unmade, wait(17 * time.Minute)}, want: stepLook, unmade: stepRefuse},
	"if that is very long ago, inject":             {steps: []func(*refusals){answer, answer, unmade, wait(20*time.Minute + time.Second)}, want: stepInject},
	"if nothing is ever known, refuse in the end":  {steps: slices.Repeat([]func(*refusals){answer}, 9), want: stepLook, unmade: stepRefuse, unknown: stepRefuse},
	"if it was refused, try when it is not made":   {steps: []func(*refusals){answer, answer, refuse}, want: stepLook, unmade: stepInject, unknown: stepRefuse},
	"and then refuse it again":                     {steps: []func(*refusals){answer, answer, refuse, answer}, want: stepLook, unmade: stepRefuse, unknown: stepInject},
	"and so on, however slowly it is asked for":    {steps: []func(*refusals){answer, answer, refuse, wait(17 * time.Minute), answer, unmade, wait(17 * time.Minute)}, want: stepLook, unmade: stepRefuse},
	"if it was made without, refuse for a while":   {steps: []func(*refusals){answer, answer, refuse, made(false), wait(119 * time.Second)}, want: stepRefuse},
	"however often it is asked for then":           {steps: []func(*refusals){answer, answer, refuse, made(false), refuse, refuse, wait(119 * time.Second)}, want: stepRefuse},
	"but not for longer":                           {steps: []func(*refusals){answer, answer, refuse, made(false), wait(time.Minute), refuse, wait(61 * time.Second)}, want: stepInject},
	"if the annotation may be refused, leave it":   {steps: []func(*refusals){answer, answer, refuse, answer, refuse, answer, refuse, answer}, want: stepLook, unmade: stepLeave},
	"but only every fourth time":                   {steps: []func(*refusals){answer, answer, refuse, answer, refuse, answer, refuse, answer, refuse, answer}, want: stepLook, unmade: stepRefuse},
	"and annotate it again when it was made":       {steps: []func(*refusals){answer, answer, refuse, answer, refuse, answer, refuse, made(false)}, want: stepRefuse},
	"and then try again":                           {steps: []func(*refusals){answer, answer, refuse, made(false), wait(121 * time.Second)}, want: stepInject},
	"late news of the first asks change nothing":   {steps: []func(*refusals){answer, answer, refuse, made(false), wait(15 * time.Second), unmade, wait(106 * time.Second)}, want: stepInject},
	"if it was refused and made with it, inject":   {steps: []func(*refusals){answer, answer, refuse, made(true)}, want: stepInject},
	"if it was tried again and made, inject":       {steps: []func(*refusals){answer, answer, refuse, answer, made(true)}, want: stepInject},
	"what is not known can't be made":              {steps: []func(*refusals){made(true), made(false), unmade}, want: stepInject},
	"if it was refused twice in a row, look still": {steps: []func(*refusals){answer, answer, refuse, refuse}, want: stepLook, unmade: stepInject, unknown: stepRefuse},
}

// siblingTests are what happens to one pod, and how the first ask for another of the same
// workload is answered.
var siblingTests = map[string]struct {
	steps   []func(*refusals)
	sibling identity // theSibling unless set
	want    step
}{
	"if nobody asked before, inject":           {want: stepInject},
	"if it may be refused, inject":             {steps: []func(*refusals){answer, answer}, want: stepInject},
	"if it was made with it, inject":           {steps: []func(*refusals){answer, answer, made(true)}, want: stepInject},
	"if it was refused, refuse":                {steps: []func(*refusals){answer, answer, refuse}, want: stepRefuse},
	"if it was refused and made, refuse":       {steps: []func(*refusals){answer, answer, refuse, made(false), wait(119 * time.Second)}, want: stepRefuse},
	"after a while, try":                       {steps: []func(*refusals){answer, answer, refuse, made(false), wait(121 * time.Second)}, want: stepInject},
	"if it is not made without either, inject": {steps: []func(*refusals){answer, answer, refuse, notThere, answer}, want: stepInject},
	"if it is made in the end, refuse":         {steps: []func(*refusals){answer, answer, refuse, notThere, answer, notThere, refuse, made(false)}, want: stepRefuse},
	// Otherwise a workload that makes a pod each minute would never be tried again.
	"what followed from it is not counted": {steps: []func(*refusals){answer, refuse, wait(time.Minute), refuseSibling, wait(61 * time.Second)}, sibling: ofSet("2"), want: stepInject},
	"of another template, inject":          {steps: []func(*refusals){answer, refuse}, sibling: identity{namespace: "db", name: "basic-tikv-1", owner: "set", revision: "2"}, want: stepInject},
	"with another agent, inject":           {steps: []func(*refusals){answer, refuse}, sibling: identity{namespace: "db", name: "basic-tikv-1", owner: "set", revision: "1", patch: 2}, want: stepInject},
	"of another set, inject":               {steps: []func(*refusals){answer, refuse}, sibling: identity{namespace: "db", name: "basic-pd-0", owner: "other", revision: "1"}, want: stepInject},
}

// ofSet is a pod of the StatefulSet of thePod.
func ofSet(ordinal string) identity {
	return identity{namespace: "db", name: "basic-tikv-" + ordinal, owner: "set", revision: "1"}
}

var thePod, theSibling = ofSet("0"), ofSet("1")

func refuseSibling(r *refusals)              { r.refused(theSibling, "c6d7") }
func notThere(r *refusals)                   { r.nextUnmade(thePod) }
func answer(r *refusals)                     { r.injected(thePod, "b5a4") }
func refuse(r *refusals)                     { r.refused(thePod, "90ab") }
func unmade(r *refusals)                     { r.unmade(thePod) }
func made(agent bool) func(*refusals)        { return func(r *refusals) { r.made(thePod, agent) } }
func wait(d time.Duration) func(r *refusals) { return func(*refusals) { time.Sleep(d) } }

func TestRefusals(t *testing.T) {
	for name, test := range refusalTests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRefusals()
				for _, s := range test.steps {
					s(r)
				}
				if got, _ := r.next(thePod, ""); got != test.want {
					t.Errorf("the next step is %d, want %d", got, test.want)
				}
				if test.want == stepLook {
					if got := r.nextUnknown(thePod); got != test.unknown {
						t.Errorf("the next step is %d if nothing is known, want %d", got, test.unknown)
					}
					if got := r.nextUnmade(thePod); got != test.unmade {
						t.Errorf("the next step is %d if it is not there, want %d", got, test.unmade)
					}
				}
				if got, _ := r.next(identity{namespace: "db", name: "basic-pd-0"}, ""); got != stepInject {
					t.Errorf("the next step of another pod is %d, want %d", got, stepInject)
				}
			})
		})
	}
}

func TestRefusalsOfSiblings(t *testing.T) {
	for name, test := range siblingTests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRefusals()
				for _, s := range test.steps {
					s(r)
				}
				if got, _ := r.next(cmp.Or(test.sibling, theSibling), ""); got != test.want {
					t.Errorf("the next step is %d, want %d", got, test.want)
				}
			})
		})
	}
}

// The admissions that a lookup looks for are those since the pod was last there.
func TestRefusalsKnowTheAdmissions(t *testing.T) {
	r := newRefusals()
	for _, uid := range []types.UID{"1", "made", "2", "3"} {
		if r.injected(thePod, uid); uid == "made" {
			r.made(thePod, true)
		}
	}
	if _, got := r.next(thePod, ""); !slices.Equal(got, []types.UID{"2", "3"}) {
		t.Errorf("admissions %q, want 2 and 3", got)
	}
}

// Only the last admissions are known, however often the pod is asked for while lookups
// fail.
func TestAdmissionsAreBounded(t *testing.T) {
	for name, note := range map[string]func(*refusals, identity, types.UID){"with": (*refusals).injected, "without": (*refusals).refused} {
		t.Run(name, func(t *testing.T) {
			r := newRefusals()
			for i := range 100 {
				note(r, thePod, types.UID(fmt.Sprint(i)))
			}
			if got := r.find(thePod).admissions; len(got) != asksUnknown || got[asksUnknown-1] != "99" {
				t.Errorf("admissions %q, want the last %d", got, asksUnknown)
			}
		})
	}
}

// However many pods there are, memory is bounded, and those last asked for are known.
func TestRefusalsAreBounded(t *testing.T) {
	r := newRefusals()
	number := func(i int) identity { return identity{name: fmt.Sprint(i)} }
	for i := range 2 * maxSeries {
		workload := identity{owner: types.UID(fmt.Sprint(i))}
		r.injected(workload, "1")
		r.refused(workload, types.UID(fmt.Sprint(i)))
		r.leave(number(i))
	}
	if marked, left := len(r.marked.Keys()), len(r.left.Keys()); marked > maxSeries || left > maxSeries {
		t.Errorf("known are %d marks, and %d pods that were left as they are, want at most %d of each", marked, left, maxSeries)
	}
	r.left = newRefusals().left
	for i := range 2 * maxSeries {
		r.injected(number(i), "1")
		r.injected(number(i), "2")
	}
	if pods, workloads := len(r.series.Keys()), len(r.workloads.Keys()); pods != maxSeries || workloads != maxSeries {
		t.Errorf("%d pods and %d workloads are known, want %d of each", pods, workloads, maxSeries)
	}
	for i, want := range map[int]step{0: stepInject, 2*maxSeries - 1: stepLook} {
		if got, _ := r.next(number(i), ""); got != want {
			t.Errorf("the next step of pod %d is %d, want %d", i, got, want)
		}
	}
}

// What makes another pod of one that has been refused, and what does not.
func TestIdentity(t *testing.T) {
	agent := func(image string) injection.Decision {
		return injection.Decision{Patch: []jsonpatch.Operation{
			jsonpatch.NewOperation("add", "/metadata/annotations/tidelay.io~1status", "{}"),
			jsonpatch.NewOperation("add", "/spec/containers/-", corev1.Container{Name: "tidelay-agent", Image: image}),
		}}
	}
	plain := func(pod *corev1.Pod) {
		pod.OwnerReferences = []metav1.OwnerReference{{UID: "set", Controller: new(true)}}
		pod.Labels = map[string]string{"controller-revision-hash": "1"}
	}
	want := identify("db", tikv(plain), agent("a"))
	tests := map[string]struct {
		namespace string
		change    func(*corev1.Pod)
		image     string
		same      bool
	}{
		"the same":              {same: true},
		"a volume of the API":   {same: true, change: func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: "kube-api-access-x7x2k"}} }},
		"our annotations":       {same: true, change: func(p *corev1.Pod) { p.Annotations = map[string]string{"tidelay.io/not-injected": "refused"} }},
		"another namespace":     {namespace: "other"},
		"another name":          {change: func(p *corev1.Pod) { p.Name = "basic-tikv-1" }},
		"a generated name":      {change: func(p *corev1.Pod) { p.Name, p.GenerateName = "", p.Name }},
		"another owner":         {change: func(p *corev1.Pod) { p.OwnerReferences[0].UID = "other" }},
		"another revision":      {change: func(p *corev1.Pod) { p.Labels["controller-revision-hash"] = "2" }},
		"a Deployment's":        {change: func(p *corev1.Pod) { p.Labels = map[string]string{"pod-template-hash": "2"} }},
		"another agent's image": {image: "b"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			pod := tikv(plain)
			if test.change != nil {
				test.change(pod)
			}
			got := identify(cmp.Or(test.namespace, "db"), pod, agent(cmp.Or(test.image, "a")))
			if (got == want) != test.same {
				t.Errorf("identity %+v of %+v: the same is %t, want %t", got, want, got == want, test.same)
			}
		})
	}
}
