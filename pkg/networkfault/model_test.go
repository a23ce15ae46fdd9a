package networkfault

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/networkfault/keeper"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// TestModel changes objects, pods, agents, the leader, the API server and the clock at
// random. After each settling the agents must do to packets what the NetworkFaults say,
// and nothing else.
func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var failure any // which must leave the bubble before rapid sees it
		synctest.Test(t, func(t *testing.T) {
			m := newModel(t)
			defer func() {
				failure = recover()
				m.stop()
			}()
			for range rapid.IntRange(1, 2).Draw(r, "settlings") {
				for range rapid.IntRange(1, 10).Draw(r, "steps") {
					m.step(r)
				}
				m.settle()
				m.check(r)
			}
		})
		if failure != nil {
			panic(failure)
		}
	})
}

// model is a TidbCluster with its agents, and a controller.
type model struct {
	*world
	fleet *fleet
	mu    sync.Mutex // guards unwell
	// unwell is whether the API server writes no status.
	unwell bool
	names  int
	next   byte // of the next pod's address
	wake   chan struct{}
	stop   func()
}

func newModel(t *testing.T) *model {
	m := &model{world: newWorld(t), fleet: &fleet{agents: map[netip.Addr]*madeUp{}}, next: 1, wake: make(chan struct{}, 1)}
	m.refuseWrites = func(*v1alpha1.NetworkFault) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.unwell {
			return errUnwell
		}
		return nil
	}
	for _, pod := range m.pods() {
		m.fleet.add(addressesOf(&pod)[0], string(pod.UID))
	}
	m.start()
	return m
}

// start starts a controller.
func (m *model) start() {
	ctx, cancel := context.WithCancel(context.Background())
	k, err := keeper.New(keeper.Options{
		Agents: m.fleet, Changed: func(types.NamespacedName) { m.trigger() }, Metrics: prometheus.NewRegistry(), Log: logr.Discard(), Parallel: 8,
		PutRight: func(types.NamespacedName, keeper.Target, []api.Change) {},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	m.Reconciler = m.newReconciler(k)
	m.options.Now = time.Now
	var running sync.WaitGroup
	running.Go(func() { _ = k.Run(ctx) })
	running.Go(func() { m.control(ctx) })
	m.stop = func() { cancel(); running.Wait() }
	m.trigger()
}

// control reconciles when something has changed, as a controller does.
func (m *model) control(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-timer.C:
		}
		result, err := m.Reconcile(ctx, ctrl.Request{NamespacedName: basic})
		switch {
		case err != nil:
			timer.Reset(time.Second)
		case result.RequeueAfter > 0:
			timer.Reset(result.RequeueAfter)
		default:
			timer.Reset(time.Hour)
		}
	}
}

func (m *model) trigger() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *model) pods() []corev1.Pod {
	var list corev1.PodList
	if err := m.List(context.Background(), &list, client.InNamespace(basic.Namespace)); err != nil {
		m.t.Fatal(err)
	}
	return list.Items
}

func (m *model) faults() []v1alpha1.NetworkFault {
	var list v1alpha1.NetworkFaultList
	if err := m.List(context.Background(), &list, client.InNamespace(basic.Namespace)); err != nil {
		m.t.Fatal(err)
	}
	return list.Items
}

// step changes one thing.
func (m *model) step(r *rapid.T) {
	steps := map[string]func(){
		"create": func() { m.create(r) },
		"delete": func() { m.onFault(r, func(f *v1alpha1.NetworkFault) { _ = m.Delete(context.Background(), f) }) },
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
			m.onAgent(r, func(a *madeUp) { a.way = rapid.SampledFrom([]way{obeys, refuses, hangs, isDown}).Draw(r, "way") })
		},
		"restart agent": func() { m.onAgent(r, func(a *madeUp) { a.held = nil }) },
		"by hand": func() {
			m.onAgent(r, func(a *madeUp) {
				a.replace([]api.Fault{{Name: "by-hand", Owner: keeper.Owner, Delay: "1s", Peers: []string{"10.0.0.0/8"}, Duration: "1m"}})
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

// fatalf fails. It tells at once, because rapid may not see the same again: the order of
// goroutines is not among what it draws.
func (m *model) fatalf(r *rapid.T, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	m.t.Log(text)
	r.Fatal(text)
}

func (m *model) onFault(r *rapid.T, f func(*v1alpha1.NetworkFault)) {
	if faults := m.faults(); len(faults) > 0 {
		f(&faults[rapid.IntRange(0, len(faults)-1).Draw(r, "fault")])
	}
}

func (m *model) onAgent(r *rapid.T, f func(*madeUp)) {
	pods := m.pods()
	addr := addressesOf(&pods[rapid.IntRange(0, len(pods)-1).Draw(r, "agent of")])[0]
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	f(m.fleet.agents[addr])
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
	delete(m.fleet.agents, addressesOf(&old)[0])
	m.fleet.add(addr, string(pod.UID))
}

// settle makes everything well again, and waits until nothing happens any more.
func (m *model) settle() {
	m.mu.Lock()
	m.unwell = false
	m.mu.Unlock()
	m.fleet.mu.Lock()
	for _, a := range m.fleet.agents {
		a.way = obeys
	}
	m.fleet.mu.Unlock()
	m.trigger()
	time.Sleep(3 * time.Minute) // a renewal, and the longest wait before another try
	synctest.Wait()
}

// check compares what the agents do to packets with what the NetworkFaults say.
func (m *model) check(r *rapid.T) {
	pods, faults := m.pods(), m.faults()
	for _, f := range faults {
		m.checkPhase(r, &f)
	}
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	for _, from := range pods {
		a := m.fleet.agents[addressesOf(&from)[0]]
		for _, to := range pods {
			if from.Name == to.Name {
				continue
			}
			got, err := a.onPacketTo(addressesOf(&to)[0])
			if err != nil {
				m.fatalf(r, "%s: %v", from.Name, err)
			}
			if want := asked(faults, from.Name, to.Name); got != want {
				m.fatalf(r, "from %s to %s: %+v, want %+v by %s", from.Name, to.Name, got, want, describe(faults))
			}
		}
		for _, f := range a.holds() {
			if f.Name == "by-hand" {
				m.fatalf(r, "%s still holds what was set by hand", from.Name)
			}
		}
	}
}

// checkPhase checks that a fault is in force, unless something in it says why not.
func (m *model) checkPhase(r *rapid.T, f *v1alpha1.NetworkFault) {
	s := &f.Status
	switch {
	case s.ObservedGeneration != f.Generation:
		m.fatalf(r, "%s: generation %d is not seen: %+v", f.Name, f.Generation, s)
	case s.Phase == v1alpha1.Running && s.Reason != decide.ReasonApplied:
		m.fatalf(r, "%s is not applied: %+v", f.Name, s)
	case s.Phase == v1alpha1.Running && s.ExpiresAt != nil && !s.ExpiresAt.After(time.Now()):
		m.fatalf(r, "%s runs after its end: %+v", f.Name, s)
	case s.Phase == v1alpha1.Paused && !f.Spec.Paused, s.Phase == v1alpha1.Pending:
		m.fatalf(r, "%s is %s: %+v", f.Name, s.Phase, s)
	case s.Reason == decide.ReasonNobodySelected && f.Spec.From[0] == "all" && f.Spec.To[0] == "others":
	case s.Phase == v1alpha1.Refused && s.Reason != decide.ReasonProtected && s.Reason != decide.ReasonAgentRefused:
		m.fatalf(r, "%s is refused: %+v", f.Name, s)
	}
}

// asked returns what faults say about packets from a pod to another, by what their specs
// say and which pods their statuses name.
func asked(faults []v1alpha1.NetworkFault, from, to string) onPacket {
	var sum onPacket
	for _, f := range faults {
		if f.Status.Phase != v1alpha1.Running {
			continue
		}
		isFrom := func(pod string) bool { return selects(&f, f.Spec.From, pod) }
		isTo := func(pod string) bool {
			return selects(&f, f.Spec.To, pod) && (f.Spec.To[0] != "others" || !isFrom(pod))
		}
		isForth, isBack := isFrom(from) && isTo(to), isFrom(to) && isTo(from)
		if !isForth && (!isBack || f.Spec.OneWay) {
			continue
		}
		sum.partition = sum.partition || f.Spec.Partition
		whole, _ := time.ParseDuration(string(f.Spec.RTT))
		each, _ := time.ParseDuration(string(f.Spec.Delay))
		half := whole / 2
		if from < to {
			half += time.Microsecond / 2
		}
		sum.delay += each + half.Truncate(time.Microsecond)
	}
	if sum.partition {
		sum.delay = 0
	}
	return sum
}

// selects reports whether one of the selectors that the model uses selects a pod.
func selects(f *v1alpha1.NetworkFault, selectors []v1alpha1.Selector, pod string) bool {
	text := string(selectors[0])
	switch {
	case text == "all" || text == "others":
		return true
	case strings.HasSuffix(text, "(leader)") || strings.HasSuffix(text, "(random)"):
		return slices.ContainsFunc(f.Status.Selected, func(s v1alpha1.SelectedPod) bool { return s.Selector == text && s.Pod == pod })
	case text == "tidb(0)":
		return pod == "basic-tidb-0"
	default:
		return strings.HasPrefix(pod, "basic-"+text+"-")
	}
}

func describe(faults []v1alpha1.NetworkFault) string {
	var all []string
	for _, f := range faults {
		all = append(all, fmt.Sprintf("%s %v->%v %s (%s %s)", f.Name, f.Spec.From, f.Spec.To, f.Status.What, f.Status.Phase, f.Status.Reason))
	}
	return strings.Join(all, "; ")
}
