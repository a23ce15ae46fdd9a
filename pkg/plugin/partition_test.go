package plugin_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// ring asks for a ring, which is the three NetworkFaults round-1 to round-3.
func ring(more ...string) []string {
	return append([]string{"partition", "basic", "--shape=ring", "--of=tidb,tikv", "--name=round"}, more...)
}

// Where one of several objects can't be created, those before it are cleared, or changed back.
func TestRingIsWrittenWholeOrNotAtAll(t *testing.T) {
	w := newWorld(t)
	forbid := func(name string) {
		w.creating = func(o client.Object) error {
			if o.GetName() == name {
				return errors.New("no right")
			}
			return nil
		}
	}
	forbid("round-3")
	fails := func(before string) {
		t.Helper()
		if status := w.run(t.Context(), ring("--for=3m")...); status != 1 {
			t.Errorf("exit status %d, want 1", status)
		}
		if said := w.errOut.String(); !strings.Contains(said, "create NetworkFault round-3: no right; what was written before was taken back") {
			t.Errorf("it says %s", said)
		}
		if after := w.names(); after != before {
			t.Errorf("after it: %s, want as before: %s", after, before)
		}
	}
	fails("")
	w.creating = nil
	if status := w.run(t.Context(), ring("--for=2m")...); status != 0 {
		t.Fatal(w.errOut.String())
	}
	for _, name := range []string{"round-2", "round-3"} {
		if err := w.Delete(t.Context(), w.fault(name)); err != nil {
			t.Fatal(err)
		}
	}
	forbid("round-3")
	fails(w.names())
}

// A ring is waited for as one.
func TestWaitForARing(t *testing.T) {
	whole := measured(metav1.ConditionTrue, "2/2", "")
	for name, test := range map[string]struct {
		// lives are those of the parts that the controller does not get measured.
		lives   map[string]func(*v1alpha1.Life)
		status  int
		isThere bool
		says    []string
	}{
		"measured": {
			nil, 0, true, []string{"round-1: measured as asked for", "round-2: measured as asked for", "round-3: measured as asked for"},
		},
		"one is refused": {
			map[string]func(*v1alpha1.Life){"round-1": unseen, "round-2": refused("QuorumLoss")},
			3, false,
			[]string{"round-1: waiting for the controller", "round-2: refused: QuorumLoss", "all 3 were cleared", "--allow QuorumLoss"},
		},
		"two are late": {
			map[string]func(*v1alpha1.Life){"round-1": applying, "round-3": unseen},
			1, true,
			[]string{"round-2: measured", "error: round-1: not in force after 50ms", "NetworkFault round-1 stays as it is", "\nround-3: the controller has not looked at it"},
		},
		"one is measured otherwise": {
			map[string]func(*v1alpha1.Life){"round-1": measured(metav1.ConditionFalse, "0/2", "an answer")},
			1, true,
			[]string{"round-1: measured, and not as asked for: an answer", "round-3: measured as asked for", "error: round-1: in force, and 0/2 of the pods"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.seen = func(o client.Object) {
				life := test.lives[o.GetName()]
				if life == nil {
					life = whole
				}
				life(&o.(*v1alpha1.NetworkFault).Status.Life)
			}
			if status := w.run(t.Context(), ring("--wait", "--timeout=50ms")...); status != test.status {
				t.Errorf("exit status %d, want %d", status, test.status)
			}
			said := w.out.String() + w.errOut.String()
			for _, want := range test.says {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q:\n%s", want, said)
				}
			}
			if got := w.names() != ""; got != test.isThere {
				t.Errorf("there is %s", w.names())
			}
		})
	}
}

// Ctrl-C clears what was created of a ring, and puts back what was changed.
func TestInterruptedRing(t *testing.T) {
	w := newWorld(t)
	interrupted := func(says string) {
		t.Helper()
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		w.seen = func(o client.Object) {
			applying(&o.(*v1alpha1.NetworkFault).Status.Life)
			interrupt()
		}
		if status := w.run(ctx, ring("--wait", "--for=5m")...); status != 1 || !strings.Contains(w.errOut.String(), says) {
			t.Errorf("exit status %d; it says %s", status, w.errOut.String())
		}
		w.seen = nil
	}
	interrupted("interrupted: all 3 were cleared")
	if got := w.names(); got != "" {
		t.Errorf("left: %s", got)
	}
	if status := w.run(t.Context(), ring()...); status != 0 {
		t.Fatal(w.errOut.String())
	}
	w.start("round-2", time.Minute)
	before := w.names()
	interrupted("interrupted: all 3 are again what they were before")
	if after := w.names(); after != before {
		t.Errorf("after it: %s, want as before: %s", after, before)
	}
	if err := w.Delete(t.Context(), w.fault("round-1")); err != nil {
		t.Fatal(err)
	}
	before = w.names()
	interrupted("interrupted: cleared: 1, again what they were before: 2")
	if after := w.names(); after != before {
		t.Errorf("after it: %s, want as before: %s", after, before)
	}
}

// Somebody else's NetworkFault that has the name of a part is not made one.
func TestRingTakesNobodysFault(t *testing.T) {
	w := newWorld(t)
	if status := w.run(t.Context(), ring()...); status != 0 {
		t.Fatal(w.errOut.String())
	}
	f := w.fault("round-2")
	f.Labels = nil
	if err := w.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if status := w.run(t.Context(), ring()...); status != 2 || !strings.Contains(w.errOut.String(), "NetworkFault round-2 is there already") {
		t.Errorf("exit status %d; it says %s", status, w.errOut.String())
	}
	if status := w.run(t.Context(), "clear", "round"); status != 0 || !strings.HasPrefix(w.names(), "NetworkFault round-2 ") {
		t.Errorf("exit status %d; there is %s", status, w.names())
	}
}
