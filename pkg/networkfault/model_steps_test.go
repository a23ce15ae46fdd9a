package networkfault

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing/synctest"
	"time"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/networkfault/facts"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// step changes one thing.
func (m *model) step(r *rapid.T) {
	steps := map[string]func(){
		"create":       func() { m.create(r) },
		"create early": func() { m.createEarly(r) },
		"delete":       func() { m.onFault(r, func(f *v1alpha1.NetworkFault) { _ = m.Delete(context.Background(), f) }) },
		"edit": func() {
			m.onFault(r, func(f *v1alpha1.NetworkFault) {
				if f.Spec.RTT != "" && f.Status.Phase != v1alpha1.Ended {
					f.Spec.RTT, f.Generation = v1alpha1.Delay(rapid.SampledFrom([]string{"1ms", "7us", "30ms"}).Draw(r, "rtt")), f.Generation+1
					_ = m.Update(context.Background(), f)
				}
			})
		},
		"pause": func() {
			m.onFault(r, func(f *v1alpha1.NetworkFault) {
				if f.Status.Phase != v1alpha1.Ended {
					f.Spec.Paused, f.Generation = !f.Spec.Paused, f.Generation+1
					_ = m.Update(context.Background(), f)
				}
			})
		},
		"create topology": func() { m.createTopology(r) },
		"delete topology": func() {
			m.onTopology(r, func(t *v1alpha1.NetworkTopology) { _ = m.Delete(context.Background(), t) })
		},
		"edit topology": func() {
			m.onTopology(r, func(t *v1alpha1.NetworkTopology) {
				if t.Status.Phase != v1alpha1.Ended {
					change := rapid.SampledFrom([]func(*rapid.T, *v1alpha1.NetworkTopologySpec){editLink, movePod, pause}).Draw(r, "change")
					change(r, &t.Spec)
					t.Generation++
					_ = m.Update(context.Background(), t)
				}
			})
		},
		"leader": func() {
			leader := rapid.SampledFrom([]string{"basic-pd-0", "basic-pd-1", "basic-pd-2"}).Draw(r, "leader")
			change(m.world, basic.Name, &tcv1alpha1.TidbCluster{}, func(c *tcv1alpha1.TidbCluster) { c.Status.PD.Leader = c.Status.PD.Members[leader] })
		},
		"protect": func() {
			value := rapid.SampledFrom([]string{"true", "false"}).Draw(r, "protect")
			m.annotate(tidbcluster.ProtectAnnotation, value)
		},
		"replace pod": func() { m.replacePod(r) },
		"agent": func() {
			m.onAgent(r, func(a *madeUp) { a.way = rapid.SampledFrom([]way{obeys, refuses, hangs, dies}).Draw(r, "way") })
		},
		"restart agent": func() { m.onAgent(r, func(a *madeUp) { a.held = nil }) },
		"by hand": func() {
			m.onAgent(r, func(a *madeUp) {
				a.replace([]api.Fault{{Name: "by-hand", Owner: decide.Owner, Delay: "1s", Peers: []string{"10.0.0.0/8"}, Duration: "1m"}})
			})
		},
		"API server": func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.unwell = !m.unwell
		},
		"new controller": func() { m.stop(); m.start() },
		"wait":           func() { time.Sleep(time.Duration(rapid.IntRange(1, 90_000).Draw(r, "ms")) * time.Millisecond) },
	}
	names := make([]string, 0, len(steps))
	for name := range steps {
		names = append(names, name)
	}
	slices.Sort(names)
	steps[rapid.SampledFrom(names).Draw(r, "step")]()
	m.trigger()
	if rapid.Bool().Draw(r, "wait a little") {
		time.Sleep(time.Second)
	}
}

func (m *model) create(r *rapid.T) {
	if len(m.faults()) > 4 {
		return
	}
	m.names++
	from := rapid.SampledFrom([]string{"pd", "tikv", "tidb", "pd(leader)", "tikv(random)", "tidb(0)", "all"}).Draw(r, "from")
	to := rapid.SampledFrom([]string{"others", "pd", "tikv", "all"}).Draw(r, "to")
	life := rapid.SampledFrom([]string{`"untilDeleted": true`, `"duration": "30s"`, `"duration": "10m"`}).Draw(r, "life")
	what := rapid.SampledFrom([]string{`"rtt": "50ms"`, `"rtt": "3us"`, `"delay": "2ms"`, `"delay": "4ms", "oneWay": true`, `"partition": true, "allow": ["QuorumLoss", "Failover"]`}).Draw(r, "what")
	m.fault(fmt.Sprintf("f%d", m.names), fmt.Sprintf(`{"from": [%q], "to": [%q], %s, %s}`, from, to, life, what))
}

// createEarly creates a fault while a pod is not ready for some seconds. The fault waits,
// also for a new controller.
func (m *model) createEarly(r *rapid.T) {
	m.setWell()
	time.Sleep(2 * time.Second) // until all that could not be written is
	before, pods := m.faults(), m.pods()
	pod := pods[rapid.IntRange(0, len(pods)-1).Draw(r, "pod that is not ready")].Name
	m.setReady(pod, false)
	m.create(r)
	m.trigger()
	time.Sleep(time.Duration(rapid.IntRange(1, 4_000).Draw(r, "ms")) * time.Millisecond)
	if rapid.Bool().Draw(r, "new controller") {
		m.stop()
		m.start()
	}
	time.Sleep(time.Duration(rapid.IntRange(1, 4_000).Draw(r, "ms")) * time.Millisecond)
	synctest.Wait()
	faults := m.faults()
	isCut := slices.ContainsFunc(faults, func(f v1alpha1.NetworkFault) bool { return f.Spec.Partition }) // so that the pod may be a victim
	for _, f := range faults {
		if isNew := !slices.ContainsFunc(before, func(b v1alpha1.NetworkFault) bool { return b.Name == f.Name }); isNew && !isCut && f.Status.StartedAt != nil {
			m.fatalf(r, "%s starts while %s is not ready: %+v", f.Name, pod, f.Status)
		}
	}
	m.setReady(pod, true)
	m.trigger()
	time.Sleep(time.Second)
}

func (m *model) onFault(r *rapid.T, f func(*v1alpha1.NetworkFault)) {
	if faults := m.faults(); len(faults) > 0 {
		f(&faults[rapid.IntRange(0, len(faults)-1).Draw(r, "fault")])
	}
}

func (m *model) onAgent(r *rapid.T, f func(*madeUp)) {
	pods := m.pods()
	m.onAgentOf(pods[rapid.IntRange(0, len(pods)-1).Draw(r, "agent of")].Name, f)
}

func (m *model) onAgentOf(name string, f func(*madeUp)) {
	pods := m.pods()
	i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return p.Name == name })
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	f(m.fleet.agents[facts.Addresses(&pods[i])[0]])
}

// replacePod replaces a pod by one of the same name at another address. The old address
// may be that of another pod by then.
func (m *model) replacePod(r *rapid.T) {
	pods := m.pods()
	old := pods[rapid.IntRange(0, len(pods)-1).Draw(r, "pod")]
	if err := m.Delete(context.Background(), &old); err != nil {
		m.t.Fatal(err)
	}
	addr := netip.AddrFrom4([4]byte{10, 0, 9, m.next})
	m.next++
	pod := old.DeepCopy()
	pod.ResourceVersion, pod.UID = "", types.UID(fmt.Sprintf("%s-%d", old.Name, m.next))
	pod.Status.PodIP, pod.Status.PodIPs = addr.String(), []corev1.PodIP{{IP: addr.String()}}
	if err := m.Create(context.Background(), pod); err != nil {
		m.t.Fatal(err)
	}
	if err := m.Status().Update(context.Background(), pod); err != nil {
		m.t.Fatal(err)
	}
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	delete(m.fleet.agents, facts.Addresses(&old)[0])
	m.fleet.add(addr, string(pod.UID))
}
