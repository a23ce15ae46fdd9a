//go:build apiserver

package apiserver

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/injection"
)

// reasonCases brings about every reason once, on a pod of TiKV. The three
// witnesses, the pod as stored, the metric and the audit log, must agree.
var reasonCases = map[injection.Reason]func(n namespace) admission{
	injection.Injected: func(n namespace) admission {
		return n.admit(n.tikv(optedIn()))
	},
	injection.NotOptedIn: func(n namespace) admission {
		return n.admit(n.tikv(nil))
	},
	injection.ComponentExcluded: func(n namespace) admission {
		return n.admit(n.tikv(annotations{injectAnnotation: "true", componentsAnnotation: "pd,tidb"}))
	},
	injection.OptedOut: func(n namespace) admission {
		return n.admit(n.tikv(optedIn(), func(pod *corev1.Pod) {
			pod.Annotations = annotations{injectAnnotation: "false"}
		}))
	},
	injection.AgentRemoved: func(n namespace) admission {
		return n.admit(n.tikv(optedIn(), func(pod *corev1.Pod) {
			pod.Annotations = annotations{injection.StatusAnnotation: "{}"}
			pod.Spec.Volumes = []corev1.Volume{{Name: "tidelay-state"}}
		}))
	},
	injection.HostNetwork: func(n namespace) admission {
		return n.admit(n.tikv(optedIn(), func(pod *corev1.Pod) { pod.Spec.HostNetwork = true }))
	},
	// The API server refuses NET_ADMIN in such a pod.
	injection.Windows: func(n namespace) admission {
		return n.admit(n.tikv(optedIn(), func(pod *corev1.Pod) { pod.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }))
	},
	injection.PortConflict: func(n namespace) admission {
		return n.admit(n.tikv(optedIn(), func(pod *corev1.Pod) {
			pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: agentPort}}
		}))
	},
	injection.NameConflict: func(n namespace) admission {
		return n.admit(n.tikv(optedIn(), func(pod *corev1.Pod) {
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: agentName, Image: "other"})
		}))
	},
	injection.PodSecurity: func(n namespace) admission {
		strict := newNamespaceWith(n.t, map[string]string{"pod-security.kubernetes.io/enforce": "baseline"})
		return strict.admit(strict.tikv(optedIn()))
	},
	injection.AlreadyInjected: func(n namespace) admission {
		pod := n.tikv(optedIn())
		original, _ := n.post(pod, dryRun)
		original.ObjectMeta = metav1.ObjectMeta{
			Name: pod.Name, Labels: pod.Labels, OwnerReferences: pod.OwnerReferences, Annotations: original.Annotations,
		}
		return n.admit(original)
	},
	injection.NotMember: func(n namespace) admission {
		return n.admit(n.pod("basic-tikv-0", "tikv", n.statefulSet("basic-tikv", n.monitor())))
	},
	injection.StaleOwner: func(n namespace) admission {
		pod := n.tikv(optedIn())
		pod.OwnerReferences[0].UID = otherUID
		return n.admit(pod)
	},
	injection.ClusterDeleting: func(n namespace) admission {
		pod := n.tikv(optedIn())
		n.deleteCluster()
		return n.admit(pod)
	},
	injection.Refused: func(n namespace) admission {
		pod := n.tikv(optedIn(), asking("1"))
		n.limitRange()
		n.refusesTwice(pod)
		return n.admit(pod)
	},
	injection.LookupFailed: func(n namespace) admission {
		pod := n.tikv(optedIn())
		pod.OwnerReferences[0].UID = otherUID // asks for a live read
		withoutPermissions(n.t)
		return n.admit(pod)
	},
}

// offline are the reasons that no request of an API server brings about alone; see
// TestUndecodablePod and TestImageIsNotPulled.
var offline = map[injection.Reason]bool{injection.InternalError: true, injection.ImageUnavailable: true}

// Before a pod's membership is known, so is its component.
var withoutComponent = map[injection.Reason]bool{
	injection.NotMember: true, injection.StaleOwner: true, injection.LookupFailed: true,
}

func TestReasons(t *testing.T) {
	for _, reason := range injection.Reasons() {
		if offline[reason] {
			continue
		}
		t.Run(string(reason), func(t *testing.T) {
			admit, ok := reasonCases[reason]
			if !ok {
				t.Fatalf("reason %s has no case", reason)
			}
			component := "tikv"
			if withoutComponent[reason] {
				component = ""
			}
			got := admit(newNamespace(t))
			got.wants(t, string(reason), component)
		})
	}
}

// tikv returns the first TiKV pod of a new TidbCluster "basic".
func (n namespace) tikv(a annotations, edits ...func(*corev1.Pod)) *corev1.Pod {
	n.t.Helper()
	return n.pod("basic-tikv-0", "tikv", n.statefulSet("basic-tikv", n.cluster("basic", a)), edits...)
}

// deleteCluster deletes the TidbCluster "basic", which something still holds on
// to, as the garbage collector does while its StatefulSets go.
func (n namespace) deleteCluster() {
	n.t.Helper()
	tc := n.custom("pingcap.com/v1alpha1", "TidbCluster", "basic", nil, nil)
	hold := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":["foregroundDeletion"]}}`))
	must(n.t, world.client.Patch(n.t.Context(), tc, hold))
	must(n.t, world.client.Delete(n.t.Context(), tc))
}

// withoutPermissions takes the injector's ClusterRole away until the test ends.
func withoutPermissions(t *testing.T) {
	t.Helper()
	binding := &rbacv1.ClusterRoleBinding{}
	must(t, world.client.Get(t.Context(), client.ObjectKey{Name: injectorName}, binding))
	must(t, world.client.Delete(t.Context(), binding))
	eventually(t, 10*time.Second, func() error { return wantAllowed(t.Context(), injectorName, false, readStatefulSets()) })
	t.Cleanup(func() {
		ctx := context.Background()
		binding.ResourceVersion, binding.UID = "", ""
		must(t, world.client.Create(ctx, binding))
		must(t, poll(ctx, 10*time.Second, func() error { return wantAllowed(ctx, injectorName, true, readStatefulSets()) }))
	})
}
