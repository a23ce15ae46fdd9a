// Package measuredtest makes up TidbClusters of any size, and what agents measure in them.
package measuredtest

import (
	"fmt"
	"net/netip"
	"time"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/measured"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Now is the time of all that is made up.
func Now() time.Time { return time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC) }

// Cluster returns the TidbCluster db/basic of so many pods, at least 3: 3 PD, the others TiKV and
// TiDB by turns. All have agents, and nodes in zones east and west by turns.
func Cluster(pods int) *look.Cluster {
	tc := &tcv1alpha1.TidbCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: "basic", UID: "tc", Annotations: map[string]string{tidbcluster.InjectAnnotation: "true"}}}
	c := &look.Cluster{Key: types.NamespacedName{Namespace: "db", Name: "basic"}, Object: tc}
	count := map[tidbcluster.Component]int{}
	for i := range pods {
		component := tidbcluster.PD
		if i >= 3 {
			component = []tidbcluster.Component{tidbcluster.TiKV, tidbcluster.TiDB}[i%2]
		}
		facts := decide.Pod{
			Name: fmt.Sprintf("basic-%s-%d", component, count[component]), Component: component, Zone: []string{"east", "west"}[i%2],
			Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i / 250), byte(i%250 + 1)})}, Agent: true, Ready: true,
		}
		count[component]++
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: facts.Name, UID: types.UID(facts.Name)}}
		c.Pods = append(c.Pods, look.Pod{Pod: pod, Facts: facts})
	}
	tc.Spec.PD = &tcv1alpha1.PDSpec{Replicas: 3}
	tc.Spec.TiKV = &tcv1alpha1.TiKVSpec{Replicas: int32(count[tidbcluster.TiKV])}
	tc.Spec.TiDB = &tcv1alpha1.TiDBSpec{Replicas: int32(count[tidbcluster.TiDB])}
	return c
}

// Start has a life be in force.
func Start(life *v1alpha1.Life, what string) {
	life.Phase, life.Reason, life.What, life.ClusterUID, life.ObservedGeneration = v1alpha1.Running, "Applied", what, "tc", 1
	life.StartedAt = &metav1.Time{Time: Now().Add(-time.Minute)}
}

// Everything allows whatever safety would refuse.
func Everything() []v1alpha1.Allowance {
	return []v1alpha1.Allowance{v1alpha1.QuorumLoss, v1alpha1.Failover, v1alpha1.LongDelay, v1alpha1.UnhealthyStart, v1alpha1.Upgrade}
}

// Topology adds a topology that is in force, of three zones that the pods are dealt out to.
func Topology(c *look.Cluster, ab, ac v1alpha1.RoundTrip) {
	t := &v1alpha1.NetworkTopology{ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: "three", UID: "three", Generation: 1, CreationTimestamp: metav1.NewTime(Now().Add(-time.Hour))}}
	t.Spec = v1alpha1.NetworkTopologySpec{
		Cluster: "basic", Spread: 3, UntilDeleted: true, StartAfter: v1alpha1.StartAfterCreated, Allow: Everything(),
		Links: []v1alpha1.Link{{Between: []v1alpha1.ZoneName{"a", "b"}, RTT: ab}, {Between: []v1alpha1.ZoneName{"a", "c"}, RTT: ac}, {Between: []v1alpha1.ZoneName{"b", "c"}, RTT: ac}},
	}
	Start(&t.Status.Life, "3 zones")
	c.Topologies = append(c.Topologies, t)
	for pod, zone := range c.InForce(Now()).Zones {
		t.Status.Zones = append(t.Status.Zones, v1alpha1.ZonePods{Name: zone, Pods: []string{pod}})
	}
}

// Fault adds a fault that is in force.
func Fault(c *look.Cluster, name, what string, spec v1alpha1.NetworkFaultSpec) {
	f := &v1alpha1.NetworkFault{ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: name, UID: types.UID(name), Generation: 1, CreationTimestamp: metav1.NewTime(Now().Add(-time.Hour))}}
	spec.Cluster, spec.UntilDeleted, spec.Allow = "basic", true, Everything()
	f.Spec = spec
	Start(&f.Status.Life, what)
	c.Faults = append(c.Faults, f)
}

// Network is the round trip without faults.
const Network = 300 * time.Microsecond

// Measure has all pairs that are open measured, as rtt says; 0 is for no answer.
func Measure(m *measured.Matrix, rtt func(*measured.Pair) time.Duration) {
	for _, p := range m.Pairs {
		for p.IsOpen() {
			Note(p, rtt(p))
		}
	}
}

// Note has a pair measured once; 0 is for no answer.
func Note(p *measured.Pair, rtt time.Duration) { p.Note(p.Judge(samples(Network), samples(rtt))) }

// AsAsked is the round trip with what is asked for.
func AsAsked(p *measured.Pair) time.Duration {
	if p.Asked.Cut {
		return 0
	}
	return Network + p.Asked.RTT
}

func samples(rtt time.Duration) api.Measurement {
	if rtt == 0 {
		return api.Measurement{}
	}
	ms := rtt.Seconds() * 1000
	return api.Measurement{Samples: []float64{ms, ms, ms}}
}
