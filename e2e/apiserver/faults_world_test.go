//go:build apiserver

package apiserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/e2e/madeup"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// protectAnnotation of a TidbCluster refuses and ends every fault.
const protectAnnotation = "tidelay.io/protect"

// maxDurationAnnotation of a TidbCluster caps the lives of faults at its agents, which the
// controller then renews after half of that.
const maxDurationAnnotation = "tidelay.io/max-duration"

// fleet is what the TidbClusters of these tests share.
type fleet struct {
	typed  client.Client // knows NetworkFault and TidbCluster
	agents *madeup.Fleet
	// Addresses are base+1, base+2 and so on, other ones than those of another run of
	// this tier on the same machine.
	base uint32
	used atomic.Uint32
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	types := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, v1alpha1.AddToScheme, tcv1alpha1.AddToScheme} {
		must(t, add(types))
	}
	typed, err := client.New(world.config, client.Options{Scheme: types})
	must(t, err)
	f := &fleet{typed: typed, agents: madeup.NewFleet(), base: 127<<24 | (16+rand.Uint32N(200))<<16}
	t.Cleanup(func() { must(t, f.agents.Close()) })
	return f
}

// address returns an address that nobody has had.
func (f *fleet) address() netip.Addr {
	var bytes [4]byte
	binary.BigEndian.PutUint32(bytes[:], f.base+f.used.Add(1))
	return netip.AddrFrom4(bytes)
}

// database is a healthy TidbCluster of 3 PD, 3 TiKV and 2 TiDB. Its pods are injected, and
// the agents in them are made up.
type database struct {
	namespace
	*fleet
	name   string
	sets   map[string]*appsv1.StatefulSet
	agents map[string]*madeup.Agent // by pod
	addrs  map[string]netip.Addr    // by pod
}

func size() madeup.Replicas { return madeup.Replicas{PD: 3, TiKV: 3, TiDB: 2} }

// database makes the TidbCluster "basic" in a namespace of its own, with annotations
// beside the one that asks for agents, and waits until the controller knows it, so that a
// fault starts at once.
func (f *fleet) database(t *testing.T, more annotations) *database {
	t.Helper()
	d := f.databaseIn(newNamespace(t), "basic", more)
	d.waitAsked()
	return d
}

func (f *fleet) databaseIn(n namespace, name string, more annotations) *database {
	n.t.Helper()
	d := &database{
		namespace: n, fleet: f, name: name,
		sets: map[string]*appsv1.StatefulSet{}, agents: map[string]*madeup.Agent{}, addrs: map[string]netip.Addr{},
	}
	spec, status, err := madeup.Unstructured(madeup.Cluster(name, size()))
	must(n.t, err)
	tc := n.custom("pingcap.com/v1alpha1", "TidbCluster", name, nil, spec)
	tc.Object["status"] = status
	a := optedIn()
	maps.Copy(a, more)
	tc.SetAnnotations(a)
	n.make(tc)
	for _, p := range size().Pods(name) {
		if d.sets[p.Set] == nil {
			d.sets[p.Set] = n.statefulSet(p.Set, tc)
		}
		d.start(p)
	}
	return d
}

// start makes a pod as it runs, with an agent that listens if the injector added one.
func (d *database) start(p madeup.Pod) {
	d.t.Helper()
	d.startAs(p, true)
}

// startAs is start for a pod that is ready or not.
func (d *database) startAs(p madeup.Pod, isReady bool) {
	d.t.Helper()
	stored, _ := d.post(d.pod(p.Name, string(p.Component), d.sets[p.Set]), wet)
	addr := d.address()
	d.addrs[p.Name] = addr
	if agents(stored) == 1 {
		agent := d.fleet.agents.Add(addr, string(stored.UID))
		must(d.t, agent.Listen())
		d.agents[p.Name] = agent
	}
	stored.Status.Phase = corev1.PodRunning
	stored.Status.PodIP, stored.Status.PodIPs = addr.String(), []corev1.PodIP{{IP: addr.String()}}
	stored.Status.ContainerStatuses = []corev1.ContainerStatus{
		{Name: string(p.Component), Ready: isReady}, {Name: agentName, ContainerID: "madeup://first"},
	}
	must(d.t, world.client.Status().Update(d.t.Context(), stored))
}

// replace replaces the pod of a name by another one, at another address.
func (d *database) replace(name string, isReady bool) {
	d.t.Helper()
	for _, p := range size().Pods(d.name) {
		if p.Name == name {
			must(d.t, d.agents[name].Vanish())
			d.remove(d.pod(name, string(p.Component), d.sets[p.Set]))
			d.startAs(p, isReady)
		}
	}
}

// changeStatus changes a pod's status, as kubelet does.
func (d *database) changeStatus(pod string, edit func(s *corev1.PodStatus)) {
	d.t.Helper()
	stored := &corev1.Pod{}
	must(d.t, world.client.Get(d.t.Context(), client.ObjectKey{Namespace: d.namespace.name, Name: pod}, stored))
	edit(&stored.Status)
	must(d.t, world.client.Status().Update(d.t.Context(), stored))
}

// eventually waits for an effect of the controller's. Many tests do so at once.
func (d *database) eventually(check func() error) {
	d.t.Helper()
	must(d.t, pollEvery(d.t.Context(), 100*time.Millisecond, 90*time.Second, check))
}

// create makes a NetworkFault; see spec for its fields.
func (d *database) create(name, fields string) *unstructured.Unstructured {
	d.t.Helper()
	u := d.fault(name, fields)
	d.make(u)
	return u
}

// createLater makes a NetworkFault after a change of the TidbCluster. The controller may see it
// before the change: then it is by what was before, and is made again.
func (d *database) createLater(name, fields string, isBefore func(*v1alpha1.NetworkFault) bool) {
	d.t.Helper()
	d.eventually(func() error {
		u := d.create(name, fields)
		d.eventually(func() error {
			if d.read(name).Status.Phase == "" {
				return fmt.Errorf("NetworkFault %s has no status", name)
			}
			return nil
		})
		if !isBefore(d.read(name)) {
			return nil
		}
		d.remove(u)
		return fmt.Errorf("NetworkFault %s is by what was before", name)
	})
}

func (d *database) read(name string) *v1alpha1.NetworkFault {
	d.t.Helper()
	f := &v1alpha1.NetworkFault{}
	must(d.t, d.typed.Get(d.t.Context(), client.ObjectKey{Namespace: d.namespace.name, Name: name}, f))
	return f
}

// becomes waits until the phase, the reason and the count of agents of a NetworkFault
// are, for its present spec, "Running Applied 8/8", and its message mentions words.
func (d *database) becomes(name, want string, words ...string) *v1alpha1.NetworkFault {
	d.t.Helper()
	var f *v1alpha1.NetworkFault
	d.eventually(func() error {
		f = d.read(name)
		s := f.Status
		if got := strings.TrimSpace(fmt.Sprintf("%s %s %s", s.Phase, s.Reason, s.Applied)); got != want || s.ObservedGeneration != f.Generation {
			return fmt.Errorf("NetworkFault %s is %q (%s), want %q", name, got, s.Message, want)
		}
		for _, w := range words {
			if !strings.Contains(s.Message, w) {
				return fmt.Errorf("NetworkFault %s says %q, want %q in it", name, s.Message, w)
			}
		}
		return nil
	})
	return f
}

// change changes the TidbCluster.
func (d *database) change(edit func(tc *tcv1alpha1.TidbCluster)) {
	d.t.Helper()
	must(d.t, retry.RetryOnConflict(retry.DefaultRetry, func() error {
		tc := &tcv1alpha1.TidbCluster{}
		if err := d.typed.Get(d.t.Context(), client.ObjectKey{Namespace: d.namespace.name, Name: d.name}, tc); err != nil {
			return err
		}
		edit(tc)
		return d.typed.Update(d.t.Context(), tc)
	}))
}

// wantEvents waits for Events "TYPE REASON" on an object.
func (d *database) wantEvents(kind, name string, want ...string) {
	d.t.Helper()
	for _, w := range want {
		d.eventually(func() error {
			var got []string
			for _, e := range d.events() {
				if e.Regarding.Kind == kind && e.Regarding.Name == name {
					got = append(got, e.Type+" "+e.Reason)
					if got[len(got)-1] == w && e.ReportingController == controllerName {
						return nil
					}
				}
			}
			return fmt.Errorf("%s %s has the Events %q, want %q among them", kind, name, got, w)
		})
	}
}

// waitAsked waits until every agent has been told what to hold, which is nothing yet.
func (d *database) waitAsked() {
	d.t.Helper()
	d.eventually(func() error {
		var missing []error
		for pod, a := range d.agents {
			if a.Counts().Empty == 0 {
				missing = append(missing, fmt.Errorf("the agent of %s was not asked", pod))
			}
		}
		return errors.Join(missing...)
	})
}
