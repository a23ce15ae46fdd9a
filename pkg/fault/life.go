package fault

import "time"

// Moment is a point in time on two clocks. A fault ends by whichever of them says
// so first: the time of day is what people ask for, but it can be set, and then a
// life would be longer.
type Moment struct {
	// Wall is the time of day, without a monotonic reading.
	Wall time.Time
	// Boot is the time since the kernel started, suspend included (CLOCK_BOOTTIME
	// of clock_gettime(2)).
	Boot time.Duration
}

// EndAfter sets the end of a fault to a time from now.
func (f *Fault) EndAfter(left time.Duration, now Moment) {
	f.ExpiresAt, f.Deadline = now.Wall.Add(left), now.Boot+left
}

// Left returns how long the fault lasts from now on, and false if it has no end.
// It is 0 or less for a fault whose time is over.
func (f Fault) Left(now Moment) (left time.Duration, ends bool) {
	if f.ExpiresAt.IsZero() {
		return 0, false
	}
	left = f.ExpiresAt.Sub(now.Wall)
	if f.Deadline > 0 {
		left = min(left, f.Deadline-now.Boot)
	}
	return left, true
}

// OutlastedBy reports whether another fault has a later end.
func (f Fault) OutlastedBy(g Fault) bool {
	return !f.ExpiresAt.IsZero() && (g.ExpiresAt.IsZero() || g.ExpiresAt.After(f.ExpiresAt))
}
