package confirm

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// liveTimeout bounds one live read. The read belongs to all callers who wait
	// for it, and each of them has its own, usually shorter, deadline.
	liveTimeout = 5 * time.Second
	// limitTimeout bounds how long a live read waits for the rate limiter. It is
	// well below the deadline of an admission, so that beyond the rate limit some
	// reads fail early and the others are answered in time.
	limitTimeout = 500 * time.Millisecond
)

// readLive reads from the API server. Callers who want the same object at the
// same time share a read:
//
//  1. It waits for the read under way, or starts one.
//  2. If it has started the read, the answer is final. So is one that q accepts.
//  3. Otherwise the read may have been made before the object existed, and its
//     "no" proves nothing. A second read starts after the first has ended, and so
//     after this call began, whoever starts it: its answer is final.
func readLive[T client.Object](ctx context.Context, r *Reader, q Query[T]) (T, error) {
	object, started, err := sharedRead(ctx, r, q)
	if started || err == nil && q.accepts(object) {
		return object, err
	}
	if ctx.Err() != nil {
		var none T
		return none, ctx.Err()
	}
	object, _, err = sharedRead(ctx, r, q)
	return object, err
}

// sharedRead waits for the live read of the object that is under way, and starts
// one if there is none. It reports whether it was this call that started it.
func sharedRead[T client.Object](ctx context.Context, r *Reader, q Query[T]) (object T, started bool, err error) {
	var none T
	mine := false
	// The UID is left out: one read answers callers with different UIDs.
	id := q.identity()
	name := fmt.Sprintf("%s %s %s", id.goType, id.kind, id.key)
	flight := r.flights.DoChan(name, func() (any, error) {
		mine = true
		// Others may wait for the read when this caller has given up.
		return fetch(context.WithoutCancel(ctx), r, q)
	})
	select {
	case <-ctx.Done():
		return none, false, ctx.Err()
	case landed := <-flight:
		if landed.Err != nil {
			return none, mine, landed.Err
		}
		return landed.Val.(T), mine, nil
	}
}

// fetch makes one live read when the rate limiter allows it, and counts it.
func fetch[T client.Object](ctx context.Context, r *Reader, q Query[T]) (object T, err error) {
	defer func() { r.reads.WithLabelValues(q.kind().Kind, resultLabel(err)).Inc() }()
	object = q.newObject()
	if err := waitForLimit(ctx, r); err != nil {
		return object, err
	}
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	if err := r.live.Get(ctx, q.Key, object); err != nil {
		return object, err
	}
	if q.Trim != nil {
		if _, err := q.Trim(object); err != nil {
			return object, fmt.Errorf("trim: %w", err)
		}
	}
	return object, nil
}

// waitForLimit waits until the rate limiter allows a live read, or fails if that
// takes longer than limitTimeout.
func waitForLimit(ctx context.Context, r *Reader) error {
	ctx, cancel := context.WithTimeout(ctx, limitTimeout)
	defer cancel()
	if err := r.limit.Wait(ctx); err != nil {
		return fmt.Errorf("wait for a live read: %w", err)
	}
	return nil
}

// resultLabel is the label "result" of tidelay_live_reads_total.
func resultLabel(err error) string {
	switch {
	case err == nil:
		return "found"
	case IsAbsent(err):
		return "not_found"
	default:
		return "error"
	}
}
