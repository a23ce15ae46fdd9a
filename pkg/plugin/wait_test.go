package plugin_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/plugin/object"
)

// seeing has the controller go through some lives of an object, one at each look. The last
// one stays.
func (w *world) seeing(lives ...func(*v1alpha1.Life)) {
	looks := 0
	w.seen = func(o client.Object) {
		life := &v1alpha1.Life{}
		lives[min(looks, len(lives)-1)](life)
		looks++
		switch o := o.(type) {
		case *v1alpha1.NetworkFault:
			o.Status.Life = *life
		case *v1alpha1.NetworkTopology:
			o.Status.Life = *life
		}
	}
}

func unseen(*v1alpha1.Life) {}

func applying(life *v1alpha1.Life) {
	life.Phase, life.Reason, life.Applied = v1alpha1.Running, "Applying", "0/8"
}

func applied(life *v1alpha1.Life) {
	running(life)
	life.What = "+50ms RTT"
}

// measured is in force, with a verdict.
func measured(is metav1.ConditionStatus, verified, message string) func(*v1alpha1.Life) {
	return func(life *v1alpha1.Life) {
		applied(life)
		life.Verified = verified
		life.Pairs = []v1alpha1.Pair{{From: "basic-tikv-0", To: "basic-pd-1", Verdict: "Right", Asked: "50ms", Before: "0.3ms", Measured: "50.2ms"}}
		meta.SetStatusCondition(&life.Conditions, metav1.Condition{Type: v1alpha1.Verified, Status: is, Reason: "Told", Message: message})
	}
}

// noLonger is in force at all pods but one, whose agent does not run any more.
func noLonger(life *v1alpha1.Life) {
	applied(life)
	life.Reason, life.Applied, life.Message = "NotApplied", "7/8", "basic-tikv-0: its agent does not run; what it holds is not known"
	life.Conditions = []metav1.Condition{{Type: v1alpha1.Applied, Status: metav1.ConditionFalse, Reason: "NoLongerApplied"}}
}

func refused(reason string) func(*v1alpha1.Life) {
	return func(life *v1alpha1.Life) {
		life.Phase, life.Reason, life.Message = v1alpha1.Refused, reason, "because."
	}
}

const waited = "basic-tikv-to-pd-leader"

func TestWait(t *testing.T) {
	for name, test := range map[string]struct {
		lives []func(*v1alpha1.Life)
		args  []string
		// status is the exit status, and isThere whether the fault is there at the end.
		status  int
		isThere bool
		// says is what is said, in that order.
		says []string
	}{
		"in force and measured": {
			[]func(*v1alpha1.Life){unseen, applying, applied, measured(metav1.ConditionTrue, "4/4", "")},
			nil, 0, true,
			[]string{"waiting for the controller", "Running, Applying, in force at 0/8 pods", "in force at 8/8 pods: +50ms RTT", "measured as asked for at 4/4 pods", "basic-tikv-0   basic-pd-1   0.3ms    50ms    50.2ms"},
		},
		"measured otherwise": {
			[]func(*v1alpha1.Life){measured(metav1.ConditionFalse, "3/4", "too fast")},
			nil, 1, true,
			[]string{"measured, and not as asked for: too fast", "3/4 of the pods"},
		},
		"refused by safety": {
			[]func(*v1alpha1.Life){unseen, refused("QuorumLoss")},
			nil, 3, false,
			[]string{"refused: QuorumLoss: because.", "it was cleared", "--allow QuorumLoss"},
		},
		"refused by two rules": {
			[]func(*v1alpha1.Life){func(life *v1alpha1.Life) {
				refused("QuorumLoss")(life)
				life.Message = "PD would lose its majority. Set allow: [QuorumLoss] to do it all the same. This fault may cut off pd-0. Set a duration of at most 4m30s, or allow: [Failover] to do it all the same. It is tried again when it is changed or created again."
			}},
			nil, 3, false,
			[]string{"error: refused by the rules of safety QuorumLoss and Failover; it was cleared; --allow QuorumLoss,Failover does it anyway"},
		},
		"refused by an agent": {
			[]func(*v1alpha1.Life){refused("AgentRefused")}, nil, 1, false, []string{"AgentRefused: because.", "it was cleared"},
		},
		"without a controller": {
			[]func(*v1alpha1.Life){unseen}, []string{"--timeout=20ms"}, 1, true, []string{"the controller has not looked at it for 20ms"},
		},
		"not in force in time": {
			[]func(*v1alpha1.Life){applying}, []string{"--timeout=20ms"}, 1, true, []string{"not in force after 20ms (Running, Applying"},
		},
		"not measured in time": {
			[]func(*v1alpha1.Life){applied}, []string{"--timeout=20ms"}, 0, true, []string{"measuring", "not measured after 20ms"},
		},
		"in force no more": {
			[]func(*v1alpha1.Life){applied, noLonger},
			[]string{"--timeout=2s"},
			1, true,
			[]string{"in force at 8/8 pods", "in force at 7/8 pods: basic-tikv-0", "error: not in force after 2s (Running, NotApplied, in force at 7/8 pods: basic-tikv-0: its agent does not run"},
		},
		"in force again": {
			[]func(*v1alpha1.Life){applied, noLonger, applied, measured(metav1.ConditionTrue, "4/4", "")},
			nil, 0, true,
			[]string{"in force at 8/8 pods", "in force at 7/8 pods: basic-tikv-0", "in force at 8/8 pods", "measured as asked for at 4/4 pods"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.seeing(test.lives...)
			args := append([]string{"set", "basic", "50ms", "--from=tikv", "--to=pd(leader)", "--wait"}, test.args...)
			if status := w.run(t.Context(), args...); status != test.status {
				t.Errorf("exit status %d, want %d", status, test.status)
			}
			said := w.out.String() + w.errOut.String()
			at := 0
			for _, want := range test.says {
				i := strings.Index(said[at:], want)
				if i < 0 {
					t.Fatalf("it does not say %q, or too early:\n%s", want, said)
				}
				at += i + len(want)
			}
			if isThere := strings.Contains(w.names(), waited); isThere != test.isThere {
				t.Errorf("the fault is there: %v, want %v", isThere, test.isThere)
			}
		})
	}
}

// Ctrl-C while waiting clears what was created.
func TestInterruptedClears(t *testing.T) {
	w := newWorld(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	w.seen = func(o client.Object) {
		applying(&o.(*v1alpha1.NetworkFault).Status.Life)
		interrupt()
	}
	if status := w.run(ctx, "set", "basic", "50ms", "--from=tikv", "--wait"); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	if !strings.Contains(w.errOut.String(), "interrupted: it was cleared") {
		t.Errorf("it says %s", w.errOut.String())
	}
	if left := w.names(); left != "" {
		t.Errorf("left: %s", left)
	}
}

// Ctrl-C while waiting clears also what was created again: the one before was not in force.
func TestInterruptedClearsWhatWasReplaced(t *testing.T) {
	w := newWorld(t)
	set := []string{"set", "basic", "50ms", "--from=tikv", "--to=pd(leader)"}
	if status := w.run(t.Context(), set...); status != 0 {
		t.Fatal(w.errOut.String())
	}
	f := w.fault(waited)
	refused("AgentRefused")(&f.Status.Life)
	w.write(f)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var phase v1alpha1.Phase = "not looked at"
	w.seen = func(o client.Object) {
		phase = object.Life(o).Phase
		interrupt()
	}
	if status := w.run(ctx, append(set, "--wait")...); status != 1 || !strings.Contains(w.errOut.String(), "interrupted: it was cleared") {
		t.Errorf("exit status %d; it says %s", status, w.errOut.String())
	}
	if left := w.names(); phase != "" || left != "" {
		t.Errorf("it was %q while waiting; left: %s", phase, left)
	}
}

// Ctrl-C while the object is read is no failure to read it.
func TestInterruptedWhileReading(t *testing.T) {
	w := newWorld(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	w.stumble = func() error {
		interrupt()
		w.stumble = nil
		return context.Canceled
	}
	status := w.run(ctx, "set", "basic", "50ms", "--from=tikv", "--wait")
	if said := w.out.String() + w.errOut.String(); status != 1 || strings.Contains(said, "context canceled") || !strings.Contains(said, "interrupted: it was cleared") {
		t.Errorf("exit status %d; it says %s", status, said)
	}
}

// Ctrl-C while waiting puts back what was changed.
func TestInterruptedPutsBack(t *testing.T) {
	w := newWorld(t)
	if status := w.run(t.Context(), "set", "basic", "50ms", "--from=tikv", "--to=pd(leader)", "--loss=1"); status != 0 {
		t.Fatal(w.errOut.String())
	}
	w.start(waited, time.Minute)
	before := w.names()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	during := ""
	w.seen = func(client.Object) {
		if during == "" {
			during = w.names()
		}
		interrupt()
	}
	if status := w.run(ctx, "set", "basic", "80ms", "--from=tikv", "--to=pd(leader)", "--rate=1gbit", "--wait"); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	if during == before || during == "" {
		t.Errorf("it was not changed: %s", during)
	}
	if after := w.names(); after != before {
		t.Errorf("after it: %s, want as before: %s", after, before)
	}
	if !strings.Contains(w.errOut.String(), "interrupted: it is again what it was before") {
		t.Errorf("it says %s", w.errOut.String())
	}
}

// Ctrl-C takes back no change of somebody else.
func TestInterruptedKeepsAnothersChange(t *testing.T) {
	w := newWorld(t)
	if status := w.run(t.Context(), "set", "basic", "50ms", "--from=tikv", "--to=pd(leader)"); status != 0 {
		t.Fatal(w.errOut.String())
	}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	w.seen = func(client.Object) {
		w.seen = nil
		w.change70(t)
		interrupt()
	}
	if status := w.run(ctx, "set", "basic", "80ms", "--from=tikv", "--to=pd(leader)", "--wait"); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	if !strings.Contains(w.errOut.String(), "somebody else has changed it") || !strings.Contains(w.names(), "70ms") {
		t.Errorf("it says %s, and there is %s", w.errOut.String(), w.names())
	}
}

// change70 has somebody else change the fault that is waited for.
func (w *world) change70(t *testing.T) {
	t.Helper()
	f := w.fault(waited)
	f.Spec.RTT = "70ms"
	f.Generation++
	if err := w.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

// Of two that create the same the second is told so.
func TestCreateMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.meanwhile = func() {
		if status := w.run(t.Context(), "set", "basic", "50ms", "--from", "tikv"); status != 0 {
			t.Errorf("the first: exit status %d: %s", status, w.errOut.String())
		}
	}
	status := w.run(t.Context(), "set", "basic", "80ms", "--from", "tikv")
	if said := w.errOut.String(); status != 1 || !strings.Contains(said, "error: create NetworkFault basic-tikv: somebody else has created it meanwhile: look at it, and try again") {
		t.Errorf("exit status %d: %s", status, said)
	}
	if rtt := w.fault("basic-tikv").Spec.RTT; rtt != "50ms" {
		t.Errorf("it adds %s, want that of the first", rtt)
	}
}

// What the controller writes into the status meanwhile does not matter to a change. What somebody
// else changes does: it was not seen.
func TestChangeMeetsAnother(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(*world)
		status    int
		rtt       string
	}{
		"a status":         {func(w *world) { w.start(waited, time.Minute) }, 0, "80ms"},
		"another's change": {func(w *world) { w.change70(t) }, 1, "70ms"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if status := w.run(t.Context(), "set", "basic", "50ms", "--from=tikv", "--to=pd(leader)"); status != 0 {
				t.Fatal(w.errOut.String())
			}
			w.meanwhile = func() { test.meanwhile(w) }
			if status := w.run(t.Context(), "set", "basic", "80ms", "--from=tikv", "--to=pd(leader)"); status != test.status || w.fault(waited).Spec.RTT != v1alpha1.Delay(test.rtt) {
				t.Errorf("exit status %d, want %d; %s; %s", status, test.status, w.errOut.String(), w.names())
			}
		})
	}
}

// An API server that does not answer for a moment ends no waiting.
func TestReadFailsWhileWaiting(t *testing.T) {
	w := newWorld(t)
	w.seeing(measured(metav1.ConditionTrue, "4/4", ""))
	failures := 2
	w.stumble = func() error {
		if failures--; failures >= 0 {
			return apierrors.NewServiceUnavailable("it starts")
		}
		return nil
	}
	status := w.run(t.Context(), "set", "basic", "50ms", "--from=tikv", "--to=pd(leader)", "--wait")
	if said := w.out.String(); status != 0 || !strings.Contains(said, "can't be read now: it starts") || !strings.Contains(said, "measured as asked for at 4/4 pods") {
		t.Errorf("exit status %d; it says %s%s", status, said, w.errOut.String())
	}
}

// Another one's change is not waited for, and not taken back.
func TestReplacedWhileWaiting(t *testing.T) {
	w := newWorld(t)
	w.seen = func(o client.Object) { o.SetUID("another") }
	if status := w.run(t.Context(), "set", "basic", "50ms", "--from=tikv", "--wait"); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	if !strings.Contains(w.errOut.String(), "changed by somebody else") {
		t.Errorf("it says %s", w.errOut.String())
	}
	if w.names() == "" {
		t.Error("it was cleared")
	}
}

// A refusal that can't be taken back says once what became of it.
func TestRefusedAndStays(t *testing.T) {
	w := newWorld(t)
	w.seeing(func(life *v1alpha1.Life) {
		refused("NobodySelected")(life)
		life.Message = "spec.from and spec.to are the same pod."
	})
	w.Client = interceptor.NewClient(w.Client.(client.WithWatch), interceptor.Funcs{
		Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
			return errors.New("no right")
		},
	})
	status := w.run(t.Context(), "set", "basic", "50ms", "--from=tikv", "--wait")
	const want = "error: refused: NobodySelected; it can't be taken back: delete NetworkFault basic-tikv: no right\n"
	if status != 1 || w.errOut.String() != want {
		t.Errorf("exit status %d: %s\nwant %s", status, w.errOut.String(), want)
	}
	if !strings.Contains(w.out.String(), "refused: NobodySelected: --from and --to are the same pod.") {
		t.Errorf("it says %s", w.out.String())
	}
}

// Colours are for terminals, and not for those who want none.
func TestColours(t *testing.T) {
	for _, test := range []struct{ isTerminal, noColor, want bool }{{true, false, true}, {true, true, false}, {false, false, false}} {
		w := newWorld(t)
		w.isTerminal, w.noColor = test.isTerminal, test.noColor
		w.seeing(measured(metav1.ConditionTrue, "4/4", ""))
		args := []string{"set", "basic", "50ms", "--from=tikv"}
		if !test.isTerminal {
			args = append(args, "--wait") // which is the default at a terminal
		}
		if status := w.run(t.Context(), args...); status != 0 || !strings.Contains(w.out.String(), "measured as asked for") {
			t.Fatal(w.out.String(), w.errOut.String())
		}
		if got := strings.Contains(w.out.String(), "\x1b["); got != test.want {
			t.Errorf("terminal %v, NO_COLOR %v: colours %v", test.isTerminal, test.noColor, got)
		}
	}
}

// Words that go to standard error, since the object is alone on the output, have colours if a
// person looks at standard error.
func TestColoursFollowTheStream(t *testing.T) {
	for _, isErrTerminal := range []bool{true, false} {
		w := newWorld(t)
		w.isTerminal, w.isErrTerminal = !isErrTerminal, isErrTerminal
		w.seeing(measured(metav1.ConditionTrue, "4/4", ""))
		if status := w.run(t.Context(), "set", "basic", "50ms", "--from=tikv", "--wait", "-o", "yaml"); status != 0 || !strings.Contains(w.errOut.String(), "measured as asked for") {
			t.Fatal(w.out.String(), w.errOut.String())
		}
		if out, words := strings.Contains(w.out.String(), "\x1b["), strings.Contains(w.errOut.String(), "\x1b["); out || words != isErrTerminal {
			t.Errorf("standard error is a terminal: %v; colours of the object: %v, of the words: %v", isErrTerminal, out, words)
		}
	}
}
