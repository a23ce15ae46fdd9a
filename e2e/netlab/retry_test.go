package netlab

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestBudget(t *testing.T) {
	for name, c := range map[string]struct {
		measured, repeated int
		exceeded           bool
	}{
		"nothing measured":            {0, 0, false},
		"three of a short run":        {5, 3, false},
		"four of a short run":         {5, 4, true},
		"a tenth of a long run":       {100, 10, false},
		"more than a tenth of it":     {100, 11, true},
		"not quite the tenth of more": {199, 19, false},
	} {
		t.Run(name, func(t *testing.T) {
			var b budget
			for i := range c.measured {
				b.count(fmt.Sprint("measurement ", i), 1)
				if i < c.repeated {
					b.count(fmt.Sprint("measurement ", i), 2)
				}
			}
			text, exceeded := b.report()
			if exceeded != c.exceeded || !strings.Contains(text, fmt.Sprintf("%d of %d", c.repeated, c.measured)) {
				t.Errorf("exceeded %t, want %t: %s", exceeded, c.exceeded, text)
			}
			if c.repeated > 0 && !strings.Contains(text, "measurement 0") {
				t.Errorf("not named: %s", text)
			}
		})
	}
}

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()                 { r.TB.Helper() }
func (r *recorder) Name() string            { return "TestRecorded" }
func (r *recorder) Errorf(string, ...any)   { r.failed = true }
func (r *recorder) Logf(f string, a ...any) { r.TB.Logf(f, a...) }

func TestRetry(t *testing.T) {
	before := spent.repeated
	defer func() { spent.repeated = before }()
	for bad, want := range map[int]struct{ failed, repeated bool }{
		0: {false, false}, 1: {false, true}, attempts - 1: {false, true}, attempts: {true, true},
	} {
		spent.repeated = nil
		r, made := &recorder{TB: t}, 0
		Retry(r, "a measurement", func() error {
			if made++; made <= bad {
				return errors.New("late")
			}
			return nil
		})
		if r.failed != want.failed || (len(spent.repeated) == 1) != want.repeated || made != min(bad+1, attempts) {
			t.Errorf("%d bad ones: %d made, failed %t, repeated %q", bad, made, r.failed, spent.repeated)
		}
	}
}
