//go:build apiserver

package apiserver

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// rounds is how often a race is run.
const rounds = 50

// race creates each pod that next returns the moment it does, while the
// injector's caches hear nothing of what next did, and wants all injected.
func race(n namespace, next func(round int) *corev1.Pod) {
	n.t.Helper()
	behind(n.t)
	missed, started := 0, time.Now()
	for round := range rounds {
		if stored, _ := n.post(next(round), wet); agents(stored) != 1 {
			missed++
		}
	}
	reads := world.injector.liveReads(n.t)
	n.t.Logf("%d rounds in %s with %d live reads", rounds, time.Since(started), reads)
	if reads < rounds {
		n.t.Error("the caches were not behind, and the test proves nothing")
	}
	if missed != 0 {
		n.t.Errorf("%d of %d pods were not injected", missed, rounds)
	}
}

func TestPodRightBehindItsOwners(t *testing.T) {
	n := newNamespace(t)
	race(n, func(round int) *corev1.Pod {
		name := fmt.Sprintf("tc%d", round)
		set := n.statefulSet(name+"-tikv", n.cluster(name, optedIn()))
		return n.pod(set.Name+"-0", "tikv", set)
	})
}

func TestDiscoveryRightBehindItsOwners(t *testing.T) {
	n := newNamespace(t)
	race(n, func(round int) *corev1.Pod {
		name := fmt.Sprintf("tc%d", round)
		set := n.discovery(name+"-discovery", n.cluster(name, optedIn()))
		return n.pod("", "discovery", set, func(pod *corev1.Pod) { pod.GenerateName = set.Name + "-" })
	})
}

// A StatefulSet made again under its name has another UID than the one the
// caches know.
func TestPodRightBehindARecreatedStatefulSet(t *testing.T) {
	n := newNamespace(t)
	tc := n.cluster("basic", optedIn())
	set := n.statefulSet("basic-tikv", tc)
	race(n, func(round int) *corev1.Pod {
		n.remove(set)
		set = n.statefulSet("basic-tikv", tc)
		return n.pod(fmt.Sprintf("basic-tikv-%d", round), "tikv", set)
	})
}

// The caches know the TidbCluster as not opted in.
func TestPodRightBehindTheAnnotation(t *testing.T) {
	n := newNamespace(t)
	tc := n.cluster("basic", nil)
	set := n.statefulSet("basic-tikv", tc)
	race(n, func(round int) *corev1.Pod {
		if round == 0 {
			n.annotate(tc, "true")
		}
		return n.pod(fmt.Sprintf("basic-tikv-%d", round), "tikv", set)
	})
}

// The caches know the namespace as one that forbids NET_ADMIN.
func TestPodRightBehindTheNamespaceLabel(t *testing.T) {
	const level = "pod-security.kubernetes.io/enforce"
	n := newNamespaceWith(t, map[string]string{level: "baseline"})
	set := n.statefulSet("basic-tikv", n.cluster("basic", optedIn()))
	race(n, func(round int) *corev1.Pod {
		if round == 0 {
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n.name}}
			patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:"privileged"}}}`, level)
			must(t, world.client.Patch(t.Context(), ns, client.RawPatch(types.MergePatchType, patch)))
		}
		return n.pod(fmt.Sprintf("basic-tikv-%d", round), "tikv", set)
	})
}

// Pods that all come at once, behind owners nobody has heard of, may share a
// look at the API server, and are all injected.
func TestManyPodsAtOnce(t *testing.T) {
	n := newNamespace(t)
	behind(t)
	set := n.statefulSet("basic-tikv", n.cluster("basic", optedIn()))
	var (
		pods   sync.WaitGroup
		missed atomic.Int32
	)
	for i := range rounds {
		pods.Go(func() {
			pod := n.pod(fmt.Sprintf("basic-tikv-%d", i), "tikv", set)
			stored, _, err := n.send(t.Context(), pod, wet, &warnings{})
			if err != nil {
				t.Error(err)
			} else if agents(stored) != 1 {
				missed.Add(1)
			}
		})
	}
	pods.Wait()
	t.Logf("%d pods with %d live reads", rounds, world.injector.liveReads(t))
	if missed := missed.Load(); missed != 0 {
		t.Errorf("%d of %d pods were not injected", missed, rounds)
	}
}

func (n namespace) annotate(tc client.Object, value string) {
	n.t.Helper()
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, injectAnnotation, value)
	must(n.t, world.client.Patch(n.t.Context(), tc, client.RawPatch(types.MergePatchType, patch)))
}
