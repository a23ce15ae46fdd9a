//go:build e2e

package cluster

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// signaller sends signals to the processes of containers, as the kernel does when memory is
// short, from a pod on each node that sees the processes there.
type signaller struct {
	*world
	pods map[string]string // by node
}

// signaller makes one for the nodes of some pods. It is gone when the test ends.
func (w *world) signaller(ctx context.Context, t *testing.T, of ...corev1.Pod) signaller {
	t.Helper()
	s := signaller{w, map[string]string{}}
	for _, pod := range of {
		node := pod.Spec.NodeName
		if s.pods[node] != "" {
			continue
		}
		own := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "signaller-", Namespace: w.namespace},
			Spec: corev1.PodSpec{
				NodeName: node, HostPID: true, Containers: []corev1.Container{pingerContainer()}, TerminationGracePeriodSeconds: new(int64(0)),
			},
		}
		if err := w.Create(ctx, own); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := w.Delete(context.Background(), own); err != nil {
				t.Error(err)
			}
		})
		s.pods[node] = own.Name
		err := w.poll(ctx, func(ctx context.Context) error {
			if err := w.Get(ctx, own.Name, w.namespace, own); err != nil {
				return err
			}
			if !podReady(*own) {
				return errors.New("pod " + own.Name + " is not ready")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// send sends KILL, STOP or CONT to a container of a pod.
func (s signaller) send(ctx context.Context, t *testing.T, signal string, pod corev1.Pod, container string) {
	t.Helper()
	_, id, _ := strings.Cut(containerStatus(t, pod, container).ContainerID, "://")
	var result map[string]int
	if err := s.runPinger(ctx, s.pods[pod.Spec.NodeName], &result, "signal", signal, id); err != nil {
		t.Fatal(err)
	}
}

// containerStatus is the state of a pod's container, of any kind.
func containerStatus(t *testing.T, pod corev1.Pod, name string) corev1.ContainerStatus {
	t.Helper()
	all := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses)
	i := slices.IndexFunc(all, func(s corev1.ContainerStatus) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("pod %s has no container %s", pod.Name, name)
	}
	return all[i]
}
