package confirm

import (
	"context"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// accessInterval is the time between two looks at what may be read. A right that is
// taken away counts at the second look, so that a moment without it does not.
const accessInterval = 30 * time.Second

// Access watches whether kinds that are kept in a cache may still be read. A cache that
// may no longer watch a kind goes on with what it last knew, and can't tell what is
// new. An API server that does not answer takes no right away.
type Access struct {
	// Live reads from the API server.
	Live client.Reader
	// Kinds are those that must be readable.
	Kinds []Kind

	mu        sync.Mutex
	last      error // of the last look
	forbidden error
}

// Start looks again and again until ctx ends.
func (a *Access) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, a.look, accessInterval)
	return nil
}

// NeedLeaderElection is false, because every replica reads from its own cache.
func (a *Access) NeedLeaderElection() bool { return false }

// Allowed returns an error with the kinds that may not be read, twice in a row.
func (a *Access) Allowed() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.forbidden
}

func (a *Access) look(ctx context.Context) {
	err := Readable(ctx, a.Live, a.Kinds)
	if ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil && !isForbidden(err) {
		return // nothing is known
	}
	a.forbidden = nil
	if err != nil && a.last != nil {
		a.forbidden = err
	}
	a.last = err
}

// isForbidden reports whether the API server has refused one of the reads of Readable.
func isForbidden(err error) bool {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		return slices.ContainsFunc(all.Unwrap(), isForbidden)
	}
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)
}
