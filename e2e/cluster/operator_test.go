//go:build e2e

package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	pingcapv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/e2e-framework/klient/k8s/resources"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
)

// What the webhook added is no drift to TiDB Operator: it neither takes it out
// nor restarts anything.
func TestOperatorSync(t *testing.T) {
	theClaims.sideBySide(t, changes(annotated))
	testEnv.Test(t, features.New("the operator's next sync").
		Assess("changes nothing", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			before := theWorld.workloads(ctx, t, annotated)
			theWorld.syncOperator(ctx, t, annotated)
			if diff := cmp.Diff(before, theWorld.workloads(ctx, t, annotated)); diff != "" {
				t.Errorf("cluster %s (-before +after):\n%s", annotated, diff)
			}
			return ctx
		}).Feature())
}

// syncOperator touches a TidbCluster and waits until TiDB Operator has been
// through all of it since. The effect is the cluster's ID: it is taken away with
// the touch, and the operator writes the status at the end of a sync, and only
// if that changed it.
func (w *world) syncOperator(ctx context.Context, t *testing.T, cluster string) {
	t.Helper()
	touched := w.patchCluster(ctx, t, cluster, `{"metadata":{"annotations":{"example.com/touched-by":%q}},"status":{"clusterID":null}}`, t.Name())
	if touched.Status.ClusterID != "" {
		t.Fatalf("TidbCluster %s still has its ID", cluster)
	}
	err := w.poll(ctx, func(ctx context.Context) error {
		var tc pingcapv1alpha1.TidbCluster
		if err := w.Get(ctx, cluster, w.namespace, &tc); err != nil {
			return err
		}
		if tc.Status.ClusterID == "" {
			return errors.New("TiDB Operator has not synced yet")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A workload is what must not change of a pod or of what makes pods.
type workload struct {
	UID        types.UID
	Generation int64
	Revision   string
	Spec       any
}

// workloads lists what a cluster consists of, by kind and name, as soon as nothing else is
// there: what another test made of it may still be going.
func (w *world) workloads(ctx context.Context, t *testing.T, cluster string) map[string]workload {
	t.Helper()
	var all map[string]workload
	err := w.poll(ctx, func(ctx context.Context) (err error) {
		if all, err = w.listWorkloads(ctx, t, cluster); err != nil {
			return err
		}
		if want := podsOf(cluster) + len(components()); len(all) != want {
			return fmt.Errorf("cluster %s has %v, want %d pods and workloads", cluster, slices.Sorted(maps.Keys(all)), want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (w *world) listWorkloads(ctx context.Context, t *testing.T, cluster string) (map[string]workload, error) {
	t.Helper()
	all := map[string]workload{}
	for _, pod := range w.pods(ctx, t, cluster, "") {
		all["Pod "+pod.Name] = workload{UID: pod.UID, Generation: pod.Generation, Spec: pod.Spec}
	}
	selector := resources.WithLabelSelector("app.kubernetes.io/instance=" + cluster)
	var sets appsv1.StatefulSetList
	var deployments appsv1.DeploymentList
	if err := errors.Join(w.List(ctx, &sets, selector), w.List(ctx, &deployments, selector)); err != nil {
		return nil, fmt.Errorf("list workloads: %w", err)
	}
	for _, s := range sets.Items {
		all["StatefulSet "+s.Name] = workload{UID: s.UID, Generation: s.Generation, Revision: s.Status.UpdateRevision, Spec: s.Spec}
	}
	for _, d := range deployments.Items {
		all["Deployment "+d.Name] = workload{UID: d.UID, Generation: d.Generation, Spec: d.Spec}
	}
	return all, nil
}
