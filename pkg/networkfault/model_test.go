package networkfault

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/facts"
	"github.com/tidelay/tidelay/pkg/networkfault/keeper"
)

// TestModel changes faults, topologies, pods, agents, the leader, the API server and the
// clock at random. After each settling the agents must do to packets what faults and
// topologies say, and nothing else.
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
				if rapid.Bool().Draw(r, "an agent dies") {
					m.checkDeath(r)
				}
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
	m.refuseWrites = func(client.Object) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.unwell {
			return errUnwell
		}
		return nil
	}
	for _, pod := range m.pods() {
		m.fleet.add(facts.Addresses(&pod)[0], string(pod.UID))
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

// setWell has the API server write.
func (m *model) setWell() {
	m.mu.Lock()
	m.unwell = false
	m.mu.Unlock()
	m.trigger()
}

// settle makes everything well again, and waits until nothing happens any more.
func (m *model) settle() {
	m.setWell()
	m.fleet.mu.Lock()
	for _, a := range m.fleet.agents {
		a.way = obeys
	}
	m.fleet.mu.Unlock()
	m.trigger()
	time.Sleep(3 * time.Minute) // a renewal, and the longest wait before another try
	synctest.Wait()
}
