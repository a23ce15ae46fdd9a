package keeper

import (
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

func TestLife(t *testing.T) {
	now := time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		left    time.Duration // 0 for no end
		objects []string
		limit   time.Duration
		want    time.Duration
	}{
		"without an end, the lease":                {want: 5 * time.Minute},
		"with a far end, the lease":                {left: time.Hour, want: 5 * time.Minute},
		"with a near end, exactly until that":      {left: 90*time.Second + 500*time.Millisecond, want: 90*time.Second + 500*time.Millisecond},
		"in whole milliseconds":                    {left: 90*time.Second + 1999*time.Microsecond, want: 90*time.Second + time.Millisecond},
		"of several objects, with grace":           {left: 90 * time.Second, objects: []string{"a", "b"}, want: 92 * time.Second},
		"of several objects, not beyond the lease": {left: 299 * time.Second, objects: []string{"a", "b"}, want: 5 * time.Minute},
		"of several objects, in the grace":         {left: -500 * time.Millisecond, objects: []string{"a", "b"}, want: 1500 * time.Millisecond},
		"of several objects, after the grace":      {left: -2 * time.Second, objects: []string{"a", "b"}, want: 0},
		"in its last second, what agents take":     {left: time.Millisecond, want: time.Second},
		"at its end, none":                         {left: -1, want: 0},
		"with a cap, that":                         {limit: 30 * time.Second, want: 30 * time.Second},
		"with a cap beyond the lease, the lease":   {limit: time.Hour, want: 5 * time.Minute},
		"with a cap beyond the end, until the end": {left: 10 * time.Second, limit: 30 * time.Second, want: 10 * time.Second},
		"with a cap within the grace, the cap":     {left: 10 * time.Second, limit: 11 * time.Second, objects: []string{"a", "b"}, want: 11 * time.Second},
	} {
		var end time.Time
		if test.left != 0 {
			end = now.Add(test.left)
		}
		f := delay("a", time.Millisecond, end, test.objects...)
		if got := lifeOf(&f, test.limit, now); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// A request has the faults that have not ended, as the agent reads them.
func TestRequest(t *testing.T) {
	now := time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)
	over := delay("over", time.Millisecond, now)
	over.ExpiresAt = now // what it has of an end itself does not count
	live := delay("live", 20*time.Millisecond, now.Add(time.Minute))
	live.ExpiresAt = now
	whole := target(1, over, live)
	r := newRequest(&whole, nil, now)
	if len(r.faults) != 1 || len(r.asked) != 1 {
		t.Fatalf("%d faults and %d asked for, want the one that lives", len(r.faults), len(r.asked))
	}
	f, a := r.faults[0], r.asked[0]
	if f.Name != "live" || f.Owner != decide.Owner || f.Duration != "1m0s" || f.ExpiresAt != "" || f.Delay != "20ms" {
		t.Errorf("asked for %+v", f)
	}
	if a.fault != &whole.Faults[1] || !a.until.Equal(now.Add(time.Minute)) {
		t.Errorf("until %s", a.until)
	}
}

func TestUntilRenewal(t *testing.T) {
	least, most := time.Hour, time.Duration(0)
	first := map[bool]int{}
	for range 10_000 {
		d := untilRenewal(0, false)
		least, most = min(least, d), max(most, d)
		d = untilRenewal(0, true)
		if d < 10*time.Second || d >= time.Minute {
			t.Fatalf("the first renewal after %s", d)
		}
		first[d < 35*time.Second]++
	}
	if least < 50*time.Second || most >= time.Minute || most-least < 9*time.Second {
		t.Errorf("renewals after %s to %s, want spread over 50 s to 60 s", least, most)
	}
	if first[true] < 4000 || first[false] < 4000 {
		t.Errorf("first renewals are not spread: %d and %d", first[true], first[false])
	}
	if got := untilRenewal(30*time.Second, false); got != 15*time.Second {
		t.Errorf("with a cap of 30 s after %s", got)
	}
}
