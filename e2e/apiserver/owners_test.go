//go:build apiserver

package apiserver

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Every component whose pods a TidbCluster owns is injected.
func TestComponents(t *testing.T) {
	for _, component := range []string{"pd", "tso", "scheduling", "tikv", "tidb", "tiflash", "ticdc", "tiproxy", "pump"} {
		t.Run(component, func(t *testing.T) {
			n := newNamespace(t)
			set := n.statefulSet("basic-"+component, n.cluster("basic", optedIn()))
			n.admit(n.pod("basic-"+component+"-0", component, set)).wants(t, "injected", component)
		})
	}
	t.Run("discovery", func(t *testing.T) {
		n := newNamespace(t)
		got := n.admit(n.discoveryPod(n.cluster("basic", optedIn())))
		got.wants(t, "injected", "discovery")
		if got.pod.Name == "" {
			t.Error("the pod was stored without a name")
		}
	})
}

// The operator's own StatefulSet has the kind's name and another group. Its
// CRD is not there when the injector starts: then it is read live, and watched
// by the next replica. When it goes, and comes again, nothing else minds.
func TestAdvancedStatefulSet(t *testing.T) {
	dir, err := operatorManifests(t.Context())
	must(t, err)
	crd := dir + "/advanced-statefulset-crd.v1.yaml"
	install := func() {
		must(t, world.kubectl.run(t.Context(), "apply", "-f", crd))
		eventually(t, 10*time.Second, func() error {
			return world.kubectl.run(t.Context(), "get", "statefulsets.apps.pingcap.com")
		})
	}
	install()
	admit := func(t *testing.T) {
		n := newNamespace(t)
		set := n.advancedStatefulSet(n.cluster("basic", optedIn()))
		n.admit(n.pod("basic-tikv-0", "tikv", set)).wants(t, "injected", "tikv")
	}
	t.Run("CRD installed later", admit)

	old := world.injector
	world.injector = newReplica(t)
	must(t, world.injector.waitReady(t.Context()))
	must(t, world.serveFrom(t.Context(), world.injector))
	old.kill()
	t.Run("CRD installed before", admit)

	must(t, world.kubectl.run(t.Context(), "delete", "--timeout=1m", "-f", crd))
	t.Run("CRD gone", func(t *testing.T) {
		n := newNamespace(t)
		n.admit(n.tikv(optedIn())).wants(t, "injected", "tikv")
		must(t, world.injector.waitReady(t.Context()))
	})
	install()
	t.Run("CRD installed again", admit)
}

// A TidbMonitor's pods carry the labels of a TidbCluster's, often even its name.
func TestTidbMonitorIsLeftAlone(t *testing.T) {
	n := newNamespace(t)
	n.cluster("basic", optedIn())
	set := n.statefulSet("basic-monitor", n.monitor())
	n.admit(n.pod("basic-monitor-0", "monitor", set)).wants(t, "not_member", "")
}

// Each step of the chain is proved by group, kind, name, UID and namespace.
func TestOwnersAreProved(t *testing.T) {
	for name, test := range map[string]struct {
		reason string
		pod    func(n namespace) *corev1.Pod
	}{
		"StatefulSet recreated under its name": {"stale_owner", func(n namespace) *corev1.Pod {
			tc := n.cluster("basic", optedIn())
			gone := n.statefulSet("basic-tikv", tc)
			n.remove(gone)
			n.statefulSet("basic-tikv", tc)
			return n.pod("basic-tikv-0", "tikv", gone)
		}},
		"TidbCluster recreated under its name": {"stale_owner", func(n namespace) *corev1.Pod {
			gone := n.cluster("basic", optedIn())
			set := n.statefulSet("basic-tikv", gone)
			n.remove(gone)
			n.cluster("basic", optedIn())
			return n.pod("basic-tikv-0", "tikv", set)
		}},
		"Deployment recreated under its name": {"stale_owner", func(n namespace) *corev1.Pod {
			tc := n.cluster("basic", optedIn())
			gone := n.deployment("basic-discovery", tc)
			set := n.replicaSet("basic-discovery-5d9c7b8f6d", gone)
			n.remove(gone)
			n.deployment("basic-discovery", tc)
			return n.pod("basic-discovery-5d9c7b8f6d-x", "discovery", set)
		}},
		"StatefulSet gone": {"stale_owner", func(n namespace) *corev1.Pod {
			set := n.statefulSet("basic-tikv", n.cluster("basic", optedIn()))
			n.remove(set)
			return n.pod("basic-tikv-0", "tikv", set)
		}},
		"TidbCluster gone": {"stale_owner", func(n namespace) *corev1.Pod {
			tc := n.cluster("basic", optedIn())
			n.remove(tc)
			return n.pod("basic-tikv-0", "tikv", n.statefulSet("basic-tikv", tc))
		}},
		"StatefulSet of another namespace": {"stale_owner", func(n namespace) *corev1.Pod {
			other := newNamespace(n.t)
			set := other.statefulSet("basic-tikv", other.cluster("basic", optedIn()))
			return n.pod("basic-tikv-0", "tikv", set)
		}},
		"TidbCluster of another namespace": {"stale_owner", func(n namespace) *corev1.Pod {
			set := n.statefulSet("basic-tikv", newNamespace(n.t).cluster("basic", optedIn()))
			return n.pod("basic-tikv-0", "tikv", set)
		}},
		"StatefulSet that nobody controls": {"not_member", func(n namespace) *corev1.Pod {
			n.cluster("basic", optedIn())
			return n.pod("basic-tikv-0", "tikv", n.statefulSet("basic-tikv", nil))
		}},
		"TidbCluster that is owner but not controller": {"not_member", func(n namespace) *corev1.Pod {
			set := n.statefulSet("basic-tikv", n.cluster("basic", optedIn()))
			set.OwnerReferences[0].Controller = new(false)
			must(n.t, world.client.Update(n.t.Context(), set))
			return n.pod("basic-tikv-0", "tikv", set)
		}},
		"TidbCluster of another group": {"not_member", func(n namespace) *corev1.Pod {
			set := n.statefulSet("basic-tikv", n.cluster("basic", optedIn()))
			set.OwnerReferences[0].APIVersion = "example.com/v1alpha1"
			must(n.t, world.client.Update(n.t.Context(), set))
			return n.pod("basic-tikv-0", "tikv", set)
		}},
		"StatefulSet that owns itself": {"not_member", func(n namespace) *corev1.Pod {
			set := n.statefulSet("basic-tikv", nil)
			set.OwnerReferences = ownedBy(set)
			must(n.t, world.client.Update(n.t.Context(), set))
			return n.pod("basic-tikv-0", "tikv", set)
		}},
		"ReplicaSets that own each other": {"not_member", func(n namespace) *corev1.Pod {
			first := n.replicaSet("basic-discovery-1", nil)
			first.OwnerReferences = ownedBy(n.replicaSet("basic-discovery-2", first))
			must(n.t, world.client.Update(n.t.Context(), first))
			return n.pod("basic-discovery-1-x", "discovery", first)
		}},
		"ReplicaSet straight under a TidbCluster": {"not_member", func(n namespace) *corev1.Pod {
			return n.pod("basic-tikv-x", "tikv", n.replicaSet("basic-tikv", n.cluster("basic", optedIn())))
		}},
		"workload that is no component": {"not_member", func(n namespace) *corev1.Pod {
			return n.pod("basic-extra-0", "extra", n.statefulSet("basic-extra", n.cluster("basic", optedIn())))
		}},
		"label that names another component": {"not_member", func(n namespace) *corev1.Pod {
			set := n.statefulSet("basic-tikv", n.cluster("basic", annotations{
				injectAnnotation: "true", componentsAnnotation: "pd",
			}))
			return n.pod("basic-tikv-0", "pd", set)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNamespace(t)
			n.admit(test.pod(n)).wants(t, test.reason, "")
		})
	}
}

// An owner reference may name its owner in another version of the group.
func TestOwnerInAnotherVersion(t *testing.T) {
	n := newNamespace(t)
	pod := n.tikv(optedIn())
	pod.OwnerReferences[0].APIVersion = "apps/v1beta2"
	n.admit(pod).wants(t, "injected", "tikv")
}

// A second owner that is not the controller does not confuse.
func TestControllerAmongOwners(t *testing.T) {
	n := newNamespace(t)
	pod := n.tikv(optedIn())
	pod.OwnerReferences = append([]metav1.OwnerReference{
		{APIVersion: "v1", Kind: "ConfigMap", Name: "other", UID: otherUID},
	}, pod.OwnerReferences...)
	n.admit(pod).wants(t, "injected", "tikv")
}

// discoveryPod returns, without making it, a pod as the ReplicaSet controller
// would: it has no name yet.
func (n namespace) discoveryPod(tc client.Object) *corev1.Pod {
	n.t.Helper()
	set := n.discovery("basic-discovery", tc)
	return n.pod("", "discovery", set, func(pod *corev1.Pod) { pod.GenerateName = set.Name + "-" })
}

// remove deletes an object at once, as if its finalizers had run.
func (n namespace) remove(object client.Object) {
	n.t.Helper()
	must(n.t, world.client.Delete(n.t.Context(), object, client.PropagationPolicy(metav1.DeletePropagationBackground)))
}
