//go:build apiserver

package apiserver

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/e2e/madeup"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// The controller carries out NetworkTopologies with the rights that it is shipped with.
func TestNetworkTopologies(t *testing.T) {
	eventuallyInjects(t)
	must(t, newLeader(t).waitReady(t.Context()))
	t.Run("at once", func(t *testing.T) {
		f := newFleet(t)
		for name, test := range map[string]func(f *fleet, t *testing.T){
			"zones by label":   (*fleet).zonesByLabel,
			"one at a time":    (*fleet).oneTopologyAtATime,
			"out of tolerance": (*fleet).outOfTolerance,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(f, t)
			})
		}
	})
}

// far is a topology by label without a profile.
const far = "spread: null, profile: null, defaults: {otherZone: 20ms}, duration: null, untilDeleted: true"

// topologyBecomes is becomes for a NetworkTopology.
func (d *database) topologyBecomes(name, want string, words ...string) v1alpha1.NetworkTopologyStatus {
	d.t.Helper()
	u := &v1alpha1.NetworkTopology{}
	d.eventually(func() error {
		if err := d.typed.Get(d.t.Context(), client.ObjectKey{Namespace: d.namespace.name, Name: name}, u); err != nil {
			return err
		}
		s := u.Status
		if got := strings.TrimSpace(fmt.Sprintf("%s %s %s %s", s.Phase, s.Reason, s.Applied, s.Zoned)); got != want || s.ObservedGeneration != u.Generation {
			return fmt.Errorf("NetworkTopology %s is %q (%s), want %q", name, got, s.Message, want)
		}
		for _, w := range words {
			if !strings.Contains(s.Message, w) {
				return fmt.Errorf("NetworkTopology %s says %q, want %q in it", name, s.Message, w)
			}
		}
		return nil
	})
	return u.Status
}

// onNodes puts the pods of each number on a node of their own, without labels.
func (d *database) onNodes() (nodes map[string]*corev1.Node) {
	d.t.Helper()
	nodes = map[string]*corev1.Node{}
	for _, p := range size().Pods(d.name) {
		number := p.Name[len(p.Name)-1:]
		if nodes[number] == nil {
			node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: d.namespace.name + "-" + number}}
			d.make(node)
			d.t.Cleanup(func() { must(d.t, d.typed.Delete(context.WithoutCancel(d.t.Context()), node)) })
			nodes[number] = node
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: d.namespace.name, Name: p.Name}}
		must(d.t, world.client.SubResource("binding").Create(d.t.Context(), pod, &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: nodes[number].Name}}))
	}
	return nodes
}

// labelZone gives a node a zone.
func (d *database) labelZone(node *corev1.Node, zone string) {
	d.t.Helper()
	node.Labels = map[string]string{corev1.LabelTopologyZone: zone}
	must(d.t, d.typed.Update(d.t.Context(), node))
}

// Zones are those of the nodes. Pods on a node without the label are named, and are in when it
// gets one; nothing else changes by that.
func (f *fleet) zonesByLabel(t *testing.T) {
	d := f.database(t, nil)
	d.make(d.topology("ground", far))
	d.topologyBecomes("ground", "Pending NoZones  0/8", "none, by the label topology.kubernetes.io/zone of the pods' nodes; 8 pods on no node yet")
	nodes := d.onNodes()
	d.topologyBecomes("ground", "Pending NoZones  0/8", "8 pods on nodes without it")
	d.labelZone(nodes["0"], "east")
	d.labelZone(nodes["1"], "west")
	s := d.topologyBecomes("ground", "Running Applied 6/6 6/8")
	if diff := cmp.Diff([]string{"basic-pd-2", "basic-tikv-2"}, s.Unzoned); diff != "" {
		t.Errorf("unzoned (-want +got):\n%s", diff)
	}
	zones := []v1alpha1.ZonePods{
		{Name: "east", Pods: []string{"basic-pd-0", "basic-tidb-0", "basic-tikv-0"}}, {Name: "west", Pods: []string{"basic-pd-1", "basic-tidb-1", "basic-tikv-1"}},
	}
	if diff := cmp.Diff(zones, s.Zones); diff != "" {
		t.Errorf("zones (-want +got):\n%s", diff)
	}
	want := effects{}
	link := func(numbers ...string) {
		for _, a := range size().Pods(d.name) {
			for _, b := range size().Pods(d.name) {
				if x, y := a.Name[len(a.Name)-1:], b.Name[len(b.Name)-1:]; x == numbers[0] && y == numbers[1] {
					want[d.short(a.Name)+">"+d.short(b.Name)], want[d.short(b.Name)+">"+d.short(a.Name)] = "10ms", "10ms"
				}
			}
		}
	}
	link("0", "1")
	d.wantEffects(want)

	d.labelZone(nodes["2"], "west")
	s = d.topologyBecomes("ground", "Running Applied 8/8 8/8")
	if len(s.Unzoned) > 0 {
		t.Errorf("unzoned %q", s.Unzoned)
	}
	link("0", "2")
	d.wantEffects(want)
}

// The oldest topology of a TidbCluster holds, the other one waits for it, and follows.
func (f *fleet) oneTopologyAtATime(t *testing.T) {
	d := f.database(t, nil)
	first, second := d.topology("first", "spread: 2, profile: null, defaults: {otherZone: 20ms}"), d.topology("second", "spread: 2, profile: null, defaults: {otherZone: 40ms}")
	d.make(first)
	d.topologyBecomes("first", "Running Applied 8/8 8/8")
	d.make(second)
	d.topologyBecomes("second", "Pending AnotherTopology", "NetworkTopology first is or will be")
	must(t, world.client.Delete(t.Context(), first))
	d.topologyBecomes("second", "Running Applied 8/8 8/8")
	d.wantEvents("TidbCluster", d.name, "Normal TopologyStarted", "Normal TopologyDeleted")
}

// What is measured to be wrong is an Event of the topology and of the TidbCluster.
func (f *fleet) outOfTolerance(t *testing.T) {
	d := f.database(t, nil)
	d.measure(madeup.Measuring{Late: 9 * time.Millisecond})
	d.make(d.topology("ground", "spread: 2, profile: null, defaults: {otherZone: 20ms}"))
	d.wantEvents("NetworkTopology", "ground", "Warning OutOfTolerance")
	d.wantEvents("TidbCluster", d.name, "Warning TopologyOutOfTolerance")
}
