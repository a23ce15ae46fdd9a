package netlab

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// attempts is how often a measurement is made before it counts as wrong. Other
// work on the machine can spoil one series of samples, but not all of them.
const attempts = 4

// A budget bounds how many measurements of a run may need more than one attempt.
// Without it an engine that is wrong every other time would pass.
type budget struct {
	mu       sync.Mutex
	measured int
	repeated []string
}

// The budget allows one measurement in budgetShare to be repeated, and
// budgetLeast of a short run.
const (
	budgetShare = 10
	budgetLeast = 3
)

// spent is that of this process.
var spent budget

// Retry repeats a measurement that failed, because a busy machine may be the
// reason. It fails the test after the last attempt. Main fails the run when too
// many measurements needed a second one.
func Retry(t testing.TB, what string, measure func() error) {
	t.Helper()
	for attempt := 1; ; attempt++ {
		err := measure()
		if attempt <= 2 {
			spent.count(t.Name()+": "+what, attempt)
		}
		if err == nil {
			return
		}
		if attempt == attempts {
			t.Errorf("%s: %v", what, err)
			return
		}
		t.Logf("%s, measured again: %v", what, err)
	}
}

// count records the first or the second attempt of a measurement.
func (b *budget) count(what string, attempt int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if attempt == 1 {
		b.measured++
	} else {
		b.repeated = append(b.repeated, what)
	}
}

// report says how many measurements were repeated, and whether that is too many.
func (b *budget) report() (text string, exceeded bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	allowed := max(budgetLeast, b.measured/budgetShare)
	text = fmt.Sprintf("%d of %d measurements were repeated, of %d that may be", len(b.repeated), b.measured, allowed)
	if len(b.repeated) > 0 {
		text += ":\n  " + strings.Join(b.repeated, "\n  ")
	}
	return text, len(b.repeated) > allowed
}

// Eventually polls until check has no error. It is for events that come at an
// unknown time, not for measurements.
func Eventually(t testing.TB, within time.Duration, what string, check func() error) {
	t.Helper()
	if err := Poll(within, check); err != nil {
		t.Fatalf("%s: not within %s: %v", what, within, err)
	}
}

// Pause waits before another look. An agent takes 100 requests per second from one
// address, and a look may be two of them.
func Pause() { time.Sleep(25 * time.Millisecond) }

// Poll is Eventually outside of a test: it returns the last error.
func Poll(within time.Duration, check func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		Pause()
	}
}
