package imagewatch

import (
	"fmt"
	"time"
)

// retryAfter is how long an image counts as one that can't be pulled after it was
// last seen on a pod. Then the next pods try it again.
const retryAfter = 10 * time.Minute

// maxFailures bounds the failures of a record.
const maxFailures = 10

// record is what is known of the image. The zero record knows of no failure.
type record struct {
	// pull is the one that failed.
	pull pull
	// failures are those of the last list that had any, at most maxFailures.
	failures []failure
	// seen is when that was.
	seen time.Time
}

// problem says in a sentence why next would fail, or "" if nothing is known against it.
func (r record) problem(next pull, now time.Time) string {
	if len(r.failures) == 0 || !r.pull.predicts(next) || now.Sub(r.seen) >= retryAfter {
		return ""
	}
	last := r.failures[0]
	return fmt.Sprintf("image %s can't be pulled on pod %s (%s: %.200s)", next.image, last.pod, last.reason, last.message)
}
