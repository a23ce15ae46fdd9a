package control

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/fault"
)

// A renewal says which faults the kernel had lost, once, and logs it. A dry run says so too.
func TestARenewalSaysWhatWasLost(t *testing.T) {
	e, records := &enginetest.Engine{}, &strings.Builder{}
	c := New(e, "", 0, slog.New(slog.NewTextHandler(records, nil)))
	renew := func(dryRun bool) string {
		t.Helper()
		a, b := late(20*time.Millisecond), late(time.Millisecond)
		a.Name, b.Name, b.Match.Protocol = "a", "b", "udp"
		a.ExpiresAt, b.ExpiresAt = time.Now().Add(time.Minute), time.Now().Add(time.Minute)
		outcome, err := c.Change(Request{Edit: ReplaceAll([]fault.Fault{a, b}), DryRun: dryRun})
		if err != nil {
			t.Fatal(err)
		}
		return outcome.Differences[0].Action + ", " + outcome.Differences[1].Action
	}
	renew(false)
	if got := renew(false); got != "keep, keep" {
		t.Errorf("renewal: %s", got)
	}
	e.Set(func(k *enginetest.Kernel) { k.Faults = k.Faults[1:] })
	logged := records.Len()
	if got := renew(true); got != "restore, keep" {
		t.Errorf("dry run after a loss: %s", got)
	}
	if got := renew(false); got != "restore, keep" {
		t.Errorf("renewal after a loss: %s", got)
	}
	if text := records.String()[logged:]; strings.Count(text, "action=restore") != 1 || !strings.Contains(text, "fault=a") {
		t.Errorf("logged %s", text)
	}
	if got := renew(false); got != "keep, keep" || len(e.Get().Faults) != 2 {
		t.Errorf("renewal after that: %s", got)
	}
}

// What the kernel still lacks after a change was not restored, and nothing is said of a kernel
// that can't be read.
func TestWhatIsNotRestored(t *testing.T) {
	f := late(20 * time.Millisecond)
	for name, test := range map[string]func(k *enginetest.Kernel){
		"waits for its interface": func(k *enginetest.Kernel) { k.Faults, k.Waiting = nil, []string{f.Name} },
		"can't be read":           func(k *enginetest.Kernel) { k.Faults, k.StateErr = nil, errors.New("boom") },
		"lost at once":            func(k *enginetest.Kernel) { k.Faults, k.Forgets = nil, true },
	} {
		e := &enginetest.Engine{}
		c := testControl(e, "")
		if err := apply(c, f); err != nil {
			t.Fatal(err)
		}
		e.Set(test)
		outcome, err := c.Change(Request{Edit: ReplaceOne(f)})
		if err != nil || len(outcome.Differences) != 1 || outcome.Differences[0].Action != api.ActionKeep {
			t.Errorf("%s: %v, %+v", name, err, outcome.Differences)
		}
	}
}
