//go:build apiserver

package apiserver

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// revisionAnnotation is where a Deployment writes the revision of a ReplicaSet.
const revisionAnnotation = "deployment.kubernetes.io/revision"

// rollouts is how often the injector is replaced.
const rollouts = 50

// TestRolloutLeavesNoOldSettings replaces one replica by another one with another image
// of the agent, again and again, while the API server keeps its connection to the old
// one, as it does. As soon as one pod has the new image all have it, and that is so
// before the old replica's pod is deleted, which ends a rollout for kubectl.
func TestRolloutLeavesNoOldSettings(t *testing.T) {
	r := newRollouts(t)
	slowest := time.Duration(0)
	for range rollouts {
		slowest = max(slowest, r.replace())
		r.finish()
	}
	t.Logf("%d rollouts; a new replica answered at most %s after it was ready", rollouts, slowest.Round(time.Millisecond))

	// A replica that is newer and ready, and does not answer, is in nobody's way.
	old, next := r.replicas[0], r.replicas[1]
	r.run(next)
	next.kill()
	before := old.forwarded(t, "failed")
	eventually(t, r.patience, func() error {
		r.wantImage(old)
		if old.forwarded(t, "failed") == before {
			return fmt.Errorf("%s does not know of a newer replica", old.pod.Name)
		}
		return nil
	})
	r.remove(next)

	// A rollback makes the old revision the newest, before it ends the newer replicas.
	next = r.newReplica("rollout-c")
	r.replicas[1] = next
	r.replace()
	world.network.cut()
	r.wantImage(next) // asked itself from here on
	r.makeNewest(old)
	r.eventuallyImage(old)
	r.makeNewest(next)
	r.eventuallyImage(next)

	// A replica that was told to end passes on what comes until it does.
	must(t, world.serveFrom(t.Context(), old.replica))
	r.wantImage(next)
	must(t, world.routeTo(t.Context(), next.replica))
	must(t, world.client.Delete(t.Context(), old.pod))
	must(t, old.cmd.Process.Signal(syscall.SIGTERM))
	for range 10 {
		r.wantImage(next)
	}
}

// rolledReplica is a replica that the API server knows as a pod.
type rolledReplica struct {
	*replica
	image string // that it gives agents
	set   *appsv1.ReplicaSet
	pod   *corev1.Pod
}

// rolloutTest has two replicas, the first of which serves.
type rolloutTest struct {
	namespace
	deployment *appsv1.Deployment
	replicas   [2]*rolledReplica
	revision   int
	patience   time.Duration // minReadySeconds
	asked      *corev1.Pod   // the pod that is admitted each time
}

func newRollouts(t *testing.T) *rolloutTest {
	t.Helper()
	r := &rolloutTest{namespace: newNamespace(t), deployment: &appsv1.Deployment{}}
	must(t, world.client.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: injectorName}, r.deployment))
	r.patience = time.Duration(r.deployment.Spec.MinReadySeconds) * time.Second
	r.asked = r.tikv(optedIn())
	r.replicas = [2]*rolledReplica{r.newReplica("rollout-a"), r.newReplica("rollout-b")}
	first := r.replicas[0]
	r.run(first)
	lend(t, first.replica)
	r.wantImage(first)
	return r
}

// newReplica starts a replica as the pod of that name, which does not exist yet, with an
// image of its own.
func (r *rolloutTest) newReplica(name string) *rolledReplica {
	r.t.Helper()
	image := "tidelay/agent:" + name
	started := newReplica(r.t, "--pod-name="+name, "--agent-image="+image, "--drain=3s")
	must(r.t, started.waitReady(r.t.Context()))
	replica := &rolledReplica{replica: started, image: image, pod: &corev1.Pod{}}
	replica.pod.Namespace, replica.pod.Name = systemNamespace, name
	return replica
}

// replace makes a pod for the second replica in the next revision, and returns how long
// it took from its being ready until pods are given its image. From then on all are.
func (r *rolloutTest) replace() time.Duration {
	r.t.Helper()
	old, next := r.replicas[0], r.replicas[1]
	r.create(next)
	r.wantImage(old)
	r.setReady(next)
	ready := time.Now()
	r.eventuallyImage(next)
	took := time.Since(ready)
	// For new connections; the one that is open stays.
	must(r.t, world.routeTo(r.t.Context(), next.replica))
	return took
}

// finish deletes the pod of the first replica, and has the second one serve.
func (r *rolloutTest) finish() {
	r.t.Helper()
	old, next := r.replicas[0], r.replicas[1]
	must(r.t, world.client.Delete(r.t.Context(), old.pod)) // kubectl calls the rollout finished
	before := old.forwarded(r.t, "answered")
	r.wantImage(next)
	r.wantImage(next)
	r.remove(old)
	r.wantImage(next)
	if old.forwarded(r.t, "answered") == before {
		r.t.Error("the old replica was not asked: the connection to it did not stay open, and the test proves nothing")
	}
	must(r.t, world.serveFrom(r.t.Context(), next.replica))
	r.wantImage(next)
	r.replicas[0], r.replicas[1] = next, old
}

// run makes a ready pod for a replica in the next revision.
func (r *rolloutTest) run(replica *rolledReplica) {
	r.t.Helper()
	r.create(replica)
	r.setReady(replica)
}

// create makes the ReplicaSet of the next revision, and in it the pod of a replica, as
// their controllers do.
func (r *rolloutTest) create(replica *rolledReplica) {
	r.t.Helper()
	r.revision++
	template := *r.deployment.Spec.Template.DeepCopy()
	hash := fmt.Sprintf("rollout%d", r.revision)
	template.Labels["pod-template-hash"] = hash
	for i, port := range template.Spec.Containers[0].Ports {
		if port.Name == "webhook" {
			template.Spec.Containers[0].Ports[i].ContainerPort = replica.port(r.t)
		}
	}
	replica.set = &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: systemNamespace, Name: injectorName + "-" + hash, Labels: template.Labels,
			Annotations:     map[string]string{revisionAnnotation: strconv.Itoa(r.revision)},
			OwnerReferences: ownedBy(r.deployment),
		},
		Spec: appsv1.ReplicaSetSpec{Selector: &metav1.LabelSelector{MatchLabels: template.Labels}, Template: template},
	}
	r.make(replica.set)
	replica.pod = &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: replica.pod.Name, Labels: template.Labels, OwnerReferences: ownedBy(replica.set)},
		Spec:       template.Spec,
	}
	// Once it is on a node, a pod that is deleted stays until kubelet has ended it.
	replica.pod.Spec.NodeName = "node"
	r.make(replica.pod)
	set, pod := replica.set, replica.pod
	r.t.Cleanup(func() {
		ctx := context.Background()
		must(r.t, client.IgnoreNotFound(world.client.Delete(ctx, pod, client.GracePeriodSeconds(0))))
		must(r.t, client.IgnoreNotFound(world.client.Delete(ctx, set)))
	})
}

// setReady says that a replica's pod is ready, as its kubelet does.
func (r *rolloutTest) setReady(replica *rolledReplica) {
	r.t.Helper()
	status := &replica.pod.Status
	status.Phase, status.PodIP, status.PodIPs = corev1.PodRunning, "127.0.0.1", []corev1.PodIP{{IP: "127.0.0.1"}}
	status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	must(r.t, world.client.Status().Update(r.t.Context(), replica.pod))
}

// remove removes a replica's pod, as its kubelet does when it has ended.
func (r *rolloutTest) remove(replica *rolledReplica) {
	r.t.Helper()
	must(r.t, world.client.Delete(r.t.Context(), replica.pod, client.GracePeriodSeconds(0)))
}

// makeNewest gives the ReplicaSet of a replica the highest revision, as a rollback does.
func (r *rolloutTest) makeNewest(replica *rolledReplica) {
	r.t.Helper()
	r.revision++
	replica.set.Annotations[revisionAnnotation] = strconv.Itoa(r.revision)
	must(r.t, world.client.Update(r.t.Context(), replica.set))
}

// eventuallyImage admits pods until one gets the image of that replica.
func (r *rolloutTest) eventuallyImage(replica *rolledReplica) {
	r.t.Helper()
	eventually(r.t, r.patience, func() error {
		if got := r.admittedImage(); got != replica.image {
			return fmt.Errorf("a pod was given the image %q, want %q", got, replica.image)
		}
		return nil
	})
}

// wantImage admits a pod and checks that it gets the image of that replica.
func (r *rolloutTest) wantImage(replica *rolledReplica) {
	r.t.Helper()
	if got := r.admittedImage(); got != replica.image {
		r.t.Fatalf("revision %d: a pod was given the image %q, want %q", r.revision, got, replica.image)
	}
}

// admittedImage returns the image of the agent that a pod would have, or "".
func (r *rolloutTest) admittedImage() string {
	r.t.Helper()
	stored, _ := r.post(r.asked, dryRun)
	for _, c := range stored.Spec.Containers {
		if c.Name == agentName {
			return c.Image
		}
	}
	return ""
}

// forwarded scrapes how many admissions the replica passed on with that result.
func (r *rolledReplica) forwarded(t *testing.T, result string) int {
	t.Helper()
	for _, metric := range r.scrape(t, "tidelay_admissions_forwarded_total") {
		if metric.GetLabel()[0].GetValue() == result {
			return int(metric.GetCounter().GetValue())
		}
	}
	t.Fatalf("tidelay_admissions_forwarded_total has no result %s", result)
	return 0
}

// port returns the port of the replica's webhook.
func (r *rolledReplica) port(t *testing.T) int32 {
	t.Helper()
	_, port, err := net.SplitHostPort(r.webhook)
	must(t, err)
	number, err := strconv.ParseInt(port, 10, 32)
	must(t, err)
	return int32(number)
}
