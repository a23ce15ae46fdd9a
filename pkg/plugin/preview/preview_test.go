package preview_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/plugin/object"
	"github.com/tidelay/tidelay/pkg/plugin/preview"
)

// input is a TidbCluster of two TiDB and a fault of 10ms between them.
func input() decide.Input {
	tc := &tcv1alpha1.TidbCluster{ObjectMeta: metav1.ObjectMeta{Name: "basic", UID: "tc", Annotations: map[string]string{"tidelay.io/inject": "true"}}}
	tc.Spec.TiDB = &tcv1alpha1.TiDBSpec{Replicas: 2}
	tc.Status.TiDB = tcv1alpha1.TiDBStatus{Phase: tcv1alpha1.NormalPhase, Members: map[string]tcv1alpha1.TiDBMember{
		"basic-tidb-0": {Name: "basic-tidb-0", Health: true}, "basic-tidb-1": {Name: "basic-tidb-1", Health: true},
	}}
	in := decide.Input{Cluster: tc, Now: time.Unix(1_000_000, 0)}
	for i, name := range []string{"basic-tidb-0", "basic-tidb-1"} {
		in.Pods = append(in.Pods, decide.Pod{Name: name, Component: "tidb", Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})}, Agent: true, Ready: true})
	}
	return in
}

func fault(name, rtt string) *v1alpha1.NetworkFault {
	return object.NewFault("db", name, v1alpha1.NetworkFaultSpec{
		Cluster: "basic", From: []v1alpha1.Selector{"tidb(0)"}, To: []v1alpha1.Selector{"others"}, RTT: v1alpha1.Delay(rtt), UntilDeleted: true,
		Allow: []v1alpha1.Allowance{v1alpha1.UnhealthyStart},
	})
}

// What is said is of all objects together; an object of the same name is replaced; and what
// was passed in is as before.
func TestOf(t *testing.T) {
	in := input()
	there := fault("there", "10ms")
	in.Faults = []*v1alpha1.NetworkFault{there}
	for name, want := range map[string]time.Duration{"new": 30 * time.Millisecond, "there": 20 * time.Millisecond} {
		wanted := fault(name, "20ms")
		p := preview.Of(in, wanted)[0]
		if p.Life.Phase != v1alpha1.Running || len(p.Groups) != 1 || p.Groups[0].Most != want || p.Groups[0].Pairs != 1 || len(p.Holders) != 2 {
			t.Errorf("%s: %s %s, %+v, %v; want %s", name, p.Life.Phase, p.Life.Message, p.Groups, p.Holders, want)
		}
		if wanted.Generation != 0 || len(in.Faults) != 1 || in.Faults[0].Spec.RTT != "10ms" {
			t.Errorf("%s: what was passed in has changed: %+v", name, in.Faults)
		}
	}
}

func TestVerdicts(t *testing.T) {
	for reason, want := range map[string][2]bool{
		string(v1alpha1.QuorumLoss): {true, false}, string(v1alpha1.Upgrade): {true, false}, decide.ReasonProtected: {true, false},
		decide.ReasonInvalid: {false, true}, decide.ReasonInvalidSelector: {false, true}, decide.ReasonNoAgent: {false, false},
	} {
		life := v1alpha1.Life{Phase: v1alpha1.Refused, Reason: reason}
		if got := [2]bool{preview.IsUnsafe(life), preview.IsInvalid(life)}; got != want {
			t.Errorf("%s: unsafe, invalid: %v, want %v", reason, got, want)
		}
	}
	if preview.IsUnsafe(v1alpha1.Life{Phase: v1alpha1.Running, Reason: string(v1alpha1.Failover)}) {
		t.Error("what runs is unsafe")
	}
}

// Of a group of which some pairs are cut it is said how many, and what happens at the others.
func TestGroupsThatAreCut(t *testing.T) {
	in := input()
	third := in.Pods[1]
	third.Name, third.Addrs = "basic-tidb-2", []netip.Addr{netip.MustParseAddr("10.0.0.3")}
	in.Pods = append(in.Pods, third)
	in.Cluster.Spec.TiDB.Replicas = 3
	in.Cluster.Status.TiDB.Members[third.Name] = tcv1alpha1.TiDBMember{Name: third.Name, Health: true}
	cut := fault("cut", "")
	cut.Spec.To, cut.Spec.Partition = []v1alpha1.Selector{"tidb(1)"}, true
	cut.Spec.Allow = append(cut.Spec.Allow, v1alpha1.QuorumLoss)
	in.Faults = []*v1alpha1.NetworkFault{cut}
	p := preview.Of(in, fault("slow", "20ms"))[0]
	if len(p.Groups) != 1 || p.Groups[0].Pairs != 2 || p.Groups[0].Cut != 1 || p.Groups[0].Least != 20*time.Millisecond {
		t.Errorf("%+v, %s", p.Groups, p.Life.Message)
	}
	for name, want := range map[string]string{"slow": "+20ms RTT, partition at 1 of 2 pairs\n", "cut": "partition\n"} {
		wanted := cut
		if name == "slow" {
			wanted = fault("slow", "20ms")
		}
		var said strings.Builder
		if err := preview.Write(&said, preview.Of(in, wanted)); err != nil || !strings.Contains(said.String(), want) {
			t.Errorf("%v: no %q in\n%s", err, want, said.String())
		}
	}
}

// A change that another fault does not bear is refused, and ends no other.
func TestAChangeEndsNoOther(t *testing.T) {
	in := input()
	start := func(f *v1alpha1.NetworkFault, ago time.Duration) *v1alpha1.NetworkFault {
		f.Generation, f.Status.ObservedGeneration = 1, 1
		f.Status.Phase, f.Status.ClusterUID = v1alpha1.Running, "tc"
		f.Status.StartedAt = &metav1.Time{Time: in.Now.Add(-ago)}
		return f
	}
	older, newer := start(fault("older", "10ms"), time.Hour), start(fault("newer", "10ms"), time.Minute)
	newer.Spec.Rate = &v1alpha1.Rate{PerSecond: "10mbit"}
	in.Faults = []*v1alpha1.NetworkFault{older, newer}
	wanted := older.DeepCopy()
	if p := preview.Of(in, wanted)[0]; p.Life.Phase != v1alpha1.Running {
		t.Errorf("no change: %s, %s", p.Life.Phase, p.Life.Message)
	}
	wanted.Spec.Rate = &v1alpha1.Rate{PerSecond: "1gbit"} // of which there can't be two
	if p := preview.Of(in, wanted)[0]; p.Life.Phase != v1alpha1.Refused || !strings.Contains(p.Life.Message, "newer") {
		t.Errorf("%s, %s; want Refused, with the name of the other", p.Life.Phase, p.Life.Message)
	}
}
