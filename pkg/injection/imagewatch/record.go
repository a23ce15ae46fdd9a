package imagewatch

import (
	"cmp"
	"fmt"
	"time"

	"github.com/tidelay/tidelay/pkg/injection"
)

// retryAfter is how long an image counts as one that can't be pulled after it was
// last seen on a pod. Then the next pods try it again.
const retryAfter = 10 * time.Minute

// maxFailures bounds the failures of a record.
const maxFailures = 10

// records is what is known of the image, by the namespace where it is so; "" is for all.
type records map[string]record

// problem returns why next would fail in a namespace, or zero if nothing is known against
// it.
func (r records) problem(namespace string, next pull, now time.Time) injection.ImageProblem {
	return cmp.Or(r[""].problem(next, now), r[namespace].problem(next, now))
}

// record is what is known of the image in a namespace, or in all. The zero record knows of
// no failure.
type record struct {
	// pull is the one that failed.
	pull pull
	// failures are those of the last list that had any, at most maxFailures.
	failures []failure
	// seen is when that was.
	seen time.Time
}

// problem returns why next would fail, or zero if nothing is known against it.
func (r record) problem(next pull, now time.Time) injection.ImageProblem {
	if len(r.failures) == 0 || !r.pull.predicts(next) || now.Sub(r.seen) >= retryAfter {
		return injection.ImageProblem{}
	}
	last := r.failures[0]
	return injection.ImageProblem{
		Image: last.image, Detail: fmt.Sprintf("image %s can't be pulled on pod %s (%s: %.200s)", last.image, last.pod, last.reason, last.message),
	}
}
