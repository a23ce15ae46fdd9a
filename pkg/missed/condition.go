package missed

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// ownCondition returns our condition of a TidbCluster, or nil if it has none.
func ownCondition(cluster *v1alpha1.TidbCluster) *v1alpha1.TidbClusterCondition {
	for i, c := range cluster.Status.Conditions {
		if c.Type == tidbcluster.InjectedCondition {
			return &cluster.Status.Conditions[i]
		}
	}
	return nil
}

// sameCondition reports whether two conditions differ in nothing but their times.
// Either may be nil.
func sameCondition(a, b *v1alpha1.TidbClusterCondition) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Status == b.Status && a.Reason == b.Reason && a.Message == b.Message
}

// write replaces our condition of a TidbCluster by want, or removes it if want is nil.
// Every other condition stays as it is.
//
// TidbCluster has no status subresource, and its conditions are a plain list that
// TiDB Operator writes as well. So the whole list is written, together with the
// resource version at which it was read, and is read again after a conflict.
func (c *Checker) write(ctx context.Context, cluster *v1alpha1.TidbCluster, want *v1alpha1.TidbClusterCondition) error {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		live := &unstructured.Unstructured{}
		live.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind("TidbCluster"))
		if err := c.options.Live.Get(ctx, client.ObjectKeyFromObject(cluster), live); err != nil {
			return err
		}
		if live.GetUID() != cluster.UID {
			return nil // another TidbCluster of that name, which the next check finds
		}
		patch, err := conditionPatch(live, want, metav1.Now())
		if err != nil || patch == nil {
			return err
		}
		return c.options.Live.Patch(ctx, live, client.RawPatch(types.MergePatchType, patch))
	})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write condition of TidbCluster %s: %w", client.ObjectKeyFromObject(cluster), err)
	}
	return nil
}

// conditionPatch returns a JSON merge patch (RFC 7386) that makes want our condition
// of live, or nil if it is that already.
func conditionPatch(live *unstructured.Unstructured, want *v1alpha1.TidbClusterCondition, now metav1.Time) ([]byte, error) {
	// The CRD allows null for the list, which NestedSlice would refuse.
	found, _, err := unstructured.NestedFieldCopy(live.Object, "status", "conditions")
	conditions, ok := found.([]any)
	if err == nil && found != nil && !ok {
		err = fmt.Errorf("%T is no list", found)
	}
	if err != nil {
		return nil, fmt.Errorf("read conditions: %w", err)
	}
	at := slices.IndexFunc(conditions, func(c any) bool {
		fields, ok := c.(map[string]any)
		return ok && fields["type"] == string(tidbcluster.InjectedCondition)
	})
	var old *v1alpha1.TidbClusterCondition
	if at >= 0 {
		old = &v1alpha1.TidbClusterCondition{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(conditions[at].(map[string]any), old); err != nil {
			return nil, fmt.Errorf("read condition: %w", err)
		}
		conditions = slices.Delete(conditions, at, at+1)
	}
	if sameCondition(old, want) {
		return nil, nil
	}
	if want != nil {
		fresh := *want
		fresh.LastUpdateTime, fresh.LastTransitionTime = now, now
		if old != nil && old.Status == want.Status {
			fresh.LastTransitionTime = old.LastTransitionTime
		}
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&fresh)
		if err != nil {
			return nil, fmt.Errorf("write condition: %w", err)
		}
		conditions = append(conditions, fields)
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": live.GetResourceVersion()},
		"status":   map[string]any{"conditions": conditions},
	})
}
