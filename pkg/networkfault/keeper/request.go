package keeper

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// grace is added to the life of a fault of several objects. Its end is that of the first
// of them. At that moment it is replaced by the fault of the others, and until that has
// arrived, packets must not pass as if there were none.
const grace = 2 * time.Second

// A fault is renewed renewAfter to renewAfter+renewSpread after it was confirmed, long
// before its life is over.
const (
	renewAfter  = 50 * time.Second
	renewSpread = 10 * time.Second
	// doubtAfter is how long an agent is not asked again that is in doubt.
	doubtAfter = 10 * time.Second
)

// newRequest returns the request that brings an agent its target now, without some of
// its faults.
func newRequest(t *Target, without []*decide.Fault, now time.Time) *request {
	r := &request{target: t, sent: now, isRest: len(without) > 0}
	for i := range t.Faults {
		f := &t.Faults[i]
		life := lifeOf(f, t.MaxDuration, now)
		if life == 0 || slices.Contains(without, f) {
			continue
		}
		w := f.Wire()
		w.Owner, w.Duration, w.ExpiresAt = decide.Owner, life.String(), ""
		r.faults = append(r.faults, w)
		r.asked = append(r.asked, held{f, now.Add(life)})
	}
	return r
}

// lifeOf returns how long a fault is to last at an agent from now on, in whole
// milliseconds; 0 for a fault that has ended. An agent takes no life under
// api.MinDuration, so that a fault that is set in its last second may end that much
// later if nobody ends it.
func lifeOf(f *decide.Fault, limit time.Duration, now time.Time) time.Duration {
	life := decide.Lease
	if !f.End.IsZero() {
		left := f.End.Sub(now)
		if len(f.Objects) > 1 {
			left += grace
		}
		if left <= 0 {
			return 0
		}
		life = min(life, max(left, api.MinDuration))
	}
	if limit > 0 {
		life = min(life, limit)
	}
	return life.Truncate(time.Millisecond)
}

// untilRenewal returns after what time the faults of an agent are renewed. The first
// renewal comes at any time within the usual one, so that agents that were all asked at
// once, when the controller started, are not all renewed at once. Where the pod has a
// cap on lives, a fault is renewed after half of its life at the latest.
func untilRenewal(limit time.Duration, isFirst bool) time.Duration {
	after := renewAfter + rand.N(renewSpread)
	if isFirst {
		after = renewSpread + rand.N(renewAfter)
	}
	if limit > 0 {
		after = min(after, limit/2)
	}
	return after
}
