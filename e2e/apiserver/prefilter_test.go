//go:build apiserver

package apiserver

import (
	"bytes"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// Other people's pods are filtered in the API server: they cost no call.
func TestForeignPodsAreNotSeen(t *testing.T) {
	for name, pod := range map[string]func(n namespace) *corev1.Pod{
		"no label of the operator": func(n namespace) *corev1.Pod {
			return n.tikv(optedIn(), func(pod *corev1.Pod) { delete(pod.Labels, managedByLabel) })
		},
		"managed by the backup operator": func(n namespace) *corev1.Pod {
			return n.tikv(optedIn(), func(pod *corev1.Pod) { pod.Labels[managedByLabel] = "backup-operator" })
		},
		"no owner": func(n namespace) *corev1.Pod {
			return n.pod("bare", "tikv", nil)
		},
		"owner that is no controller": func(n namespace) *corev1.Pod {
			return n.tikv(optedIn(), func(pod *corev1.Pod) { pod.OwnerReferences[0].Controller = new(false) })
		},
		"owner that does not say": func(n namespace) *corev1.Pod {
			return n.tikv(optedIn(), func(pod *corev1.Pod) { pod.OwnerReferences[0].Controller = nil })
		},
		"DaemonSet": func(n namespace) *corev1.Pod {
			set := &appsv1.DaemonSet{ObjectMeta: n.meta("daemon", nil), Spec: appsv1.DaemonSetSpec{
				Selector: selector("daemon"), Template: template("daemon"),
			}}
			n.make(set)
			return n.pod("daemon-x", "tikv", set)
		},
		"Job of a TidbInitializer": func(n namespace) *corev1.Pod {
			job := &batchv1.Job{ObjectMeta: n.meta("basic-tidb-initializer", n.cluster("basic", optedIn()))}
			job.Spec.Template = template("job")
			job.Spec.Template.Labels = nil // the API server adds its own
			job.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
			n.make(job)
			return n.pod("basic-tidb-initializer-x", "initializer", job)
		},
		"StatefulSet of another group": func(n namespace) *corev1.Pod {
			return n.tikv(optedIn(), func(pod *corev1.Pod) { pod.OwnerReferences[0].APIVersion = "apps.example.com/v1" })
		},
		"Deployment without a ReplicaSet": func(n namespace) *corev1.Pod {
			return n.pod("basic-discovery-x", "discovery", n.deployment("basic-discovery", n.cluster("basic", optedIn())))
		},
		"kube-system": func(n namespace) *corev1.Pod {
			n.name = "kube-system"
			n.make(&corev1.ServiceAccount{ObjectMeta: n.meta("default", nil)})
			pod := n.pod("", "tikv", n.statefulSet("basic-tikv", n.cluster("basic", optedIn())))
			pod.GenerateName = "basic-tikv-"
			return pod
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNamespace(t)
			sent := pod(n)
			n.name = sent.Namespace
			n.admit(sent).wantsUnseen(t)
		})
	}
}

// An expression that fails to evaluate would skip the injector unseen.
func TestFiltersNeverFail(t *testing.T) {
	n := newNamespace(t)
	n.admit(n.pod("bare", "tikv", nil)).wantsUnseen(t)
	metrics, err := world.pods.Get().AbsPath("/metrics").DoRaw(t.Context())
	must(t, err)
	if !bytes.Contains(metrics, []byte("apiserver_admission_match_condition_exclusions_total{")) {
		t.Error("the API server counts no match conditions, and the test proves nothing")
	}
	for line := range bytes.Lines(metrics) {
		if bytes.HasPrefix(line, []byte("apiserver_admission_match_condition_evaluation_errors_total{")) {
			t.Errorf("%s", line)
		}
	}
}

// Only creation is admitted: an agent cannot be added later, and need not be
// asked about.
func TestUpdatesAreNotSeen(t *testing.T) {
	n := newNamespace(t)
	stored, _ := n.post(n.tikv(nil), wet)
	before := world.injector.decisions(t)
	stored.Labels["touched"] = "true"
	must(t, world.client.Update(t.Context(), stored))
	if grown := since(before, world.injector.decisions(t)); len(grown) != 0 {
		t.Errorf("an update was decided on: %v", grown)
	}
}
