//go:build e2e

package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/e2e-framework/klient/k8s"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// Who is meant by @zone follows the label of the nodes, also while the fault runs. What was
// picked stays with its pod. All nodes have the same zone here, of which kind has one.
func TestNetworkFaultZone(t *testing.T) {
	ctx := onFaulted(t)
	const here, there = "tidelay-e2e-here", "tidelay-e2e-there"
	tikvs, pds := []string{"tikv-0", "tikv-1", "tikv-2"}, []string{"pd-0", "pd-1", "pd-2"}
	zoned, picked := between(tikvs, pds, added), between([]string{"tiflash-0"}, []string{"tidb-0", "tidb-1"}, added)

	// The status of a fault without a zone says when the controller knows the label.
	theFaulted.run(ctx, t, "witness", `from: [tiflash], to: [ticdc], rtt: 50ms, untilDeleted: true`)
	theFaulted.zone(ctx, t, here)
	theFaulted.wantZone(ctx, t, "witness", here)
	theFaulted.remove(ctx, t, "witness")
	theFaulted.run(ctx, t, "zoned", `from: ["tikv@`+here+`"], to: ["pd@`+here+`"], rtt: 50ms, untilDeleted: true`)
	theFaulted.run(ctx, t, "picked", `from: ["tiflash(random)@`+here+`"], to: [tidb], rtt: 50ms, untilDeleted: true`)
	theFaulted.wantMatrix(ctx, t, "in the zone", sum(zoned, picked))

	theFaulted.zone(ctx, t, there)
	theFaulted.wantMatrix(ctx, t, "in another zone", picked)
	theFaulted.apply(ctx, t, "nobody", `from: ["tikv@`+here+`"], rtt: 50ms, untilDeleted: true`)
	refused := theFaulted.wantPhase(ctx, t, "nobody", v1alpha1.Refused, "NobodySelected")
	t.Logf("refused: %s", refused.Message)
	theFaulted.zone(ctx, t, here)
	theFaulted.wantMatrix(ctx, t, "in the zone again", sum(zoned, picked))
	theFaulted.wantPhase(ctx, t, "zoned", v1alpha1.Running, "Applied")
}

// zone gives all nodes a zone until the test ends.
func (w *world) zone(ctx context.Context, t *testing.T, zone string) {
	t.Helper()
	var nodes corev1.NodeList
	if err := w.List(ctx, &nodes); err != nil {
		t.Fatal(err)
	}
	label := func(ctx context.Context, node string, value string) error {
		return w.Patch(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}, k8s.Patch{
			PatchType: types.MergePatchType, Data: fmt.Appendf(nil, `{"metadata":{"labels":{%q:%s}}}`, corev1.LabelTopologyZone, value),
		})
	}
	for _, node := range nodes.Items {
		before := "null"
		if value, ok := node.Labels[corev1.LabelTopologyZone]; ok {
			before = fmt.Sprintf("%q", value)
		}
		t.Cleanup(func() {
			if err := label(context.Background(), node.Name, before); err != nil {
				t.Error(err)
			}
		})
		if err := label(ctx, node.Name, fmt.Sprintf("%q", zone)); err != nil {
			t.Fatal(err)
		}
	}
}

// wantZone waits until the status of a NetworkFault says that all its pods are in a zone.
func (w *world) wantZone(ctx context.Context, t *testing.T, name, zone string) {
	t.Helper()
	err := w.poll(ctx, func(ctx context.Context) error {
		var f v1alpha1.NetworkFault
		err := w.Get(ctx, name, w.namespace, &f)
		for _, s := range f.Status.Selected {
			if s.Zone != zone {
				err = errors.Join(err, fmt.Errorf("pod %s is in the zone %q, want %q", s.Pod, s.Zone, zone))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
