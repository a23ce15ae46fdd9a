package look

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// readLease reads until when a replica of the controller leads. Most people may not read that,
// and need not: it never fails. Where the controller is in another namespace, its Lease is not
// found, and then nothing is said of it.
func (r *reading) readLease(ctx context.Context) error {
	var lease coordinationv1.Lease
	err := r.Get(ctx, types.NamespacedName{Namespace: TidelayNamespace, Name: decide.Owner}, &lease)
	if err == nil && lease.Spec.RenewTime != nil {
		r.cluster.LeaseEnd = lease.Spec.RenewTime.Time
		if seconds := lease.Spec.LeaseDurationSeconds; seconds != nil {
			r.cluster.LeaseEnd = r.cluster.LeaseEnd.Add(time.Duration(*seconds) * time.Second)
		}
	}
	return nil
}
