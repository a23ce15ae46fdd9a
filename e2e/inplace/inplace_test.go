package inplace_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/inplace"
)

const before, after = 100 * time.Millisecond, 140 * time.Millisecond

// stream returns pings of a change: some of before, some with one end changed, and then some of
// after.
func stream() []time.Duration {
	var all []time.Duration
	for _, rtt := range []time.Duration{before, before, before, before + (after-before)/2, after, after, after} {
		all = append(all, slices.Repeat([]time.Duration{rtt + 300*time.Microsecond}, inplace.Part*7/5)...)
	}
	return all
}

func TestProblem(t *testing.T) {
	last := len(stream()) - 1
	for name, test := range map[string]struct {
		edit func([]time.Duration) []time.Duration
		want string
	}{
		"a change in place":    {func(all []time.Duration) []time.Duration { return all }, ""},
		"many late":            {func(all []time.Duration) []time.Duration { return set(all, 10, 40, time.Second) }, ""},
		"one without anything": {func(all []time.Duration) []time.Duration { return set(all, 130, 131, 300*time.Microsecond) }, "a ping passed in 300µs, want none under 100ms"},
		"one with one half":    {func(all []time.Duration) []time.Duration { return set(all, 130, 131, before/2) }, "a ping passed in 50ms"},
		"back for a moment":    {func(all []time.Duration) []time.Duration { return set(all, last-60, last-58, before) }, "a ping passed in 100ms, want none under 140ms by then"},
		"back in the end":      {func(all []time.Duration) []time.Duration { return set(all, last-60, last+1, before) }, "the last pings took 100ms, want 140ms"},
		"changed too early":    {func(all []time.Duration) []time.Duration { return all[5*inplace.Part:] }, "the first pings took"},
		"never changed":        {func(all []time.Duration) []time.Duration { return all[:2*inplace.Part] }, "the last pings took 100.3ms"},
		"few":                  {func(all []time.Duration) []time.Duration { return all[:inplace.Part] }, "50 pings, want 100 at least"},
		"none":                 {func([]time.Duration) []time.Duration { return nil }, "0 pings"},
	} {
		t.Run(name, func(t *testing.T) {
			all := test.edit(stream())
			if got := inplace.Problem(len(all), all, before, after); got != test.want && (test.want == "" || !strings.Contains(got, test.want)) {
				t.Errorf("%q, want %q", got, test.want)
			}
			if got := inplace.Problem(len(all)+1, all, before, after); !strings.HasPrefix(got, "1 of ") {
				t.Errorf("with one that was lost: %q", got)
			}
		})
	}
}

func set(all []time.Duration, from, to int, rtt time.Duration) []time.Duration {
	for i := from; i < to; i++ {
		all[i] = rtt
	}
	return all
}
