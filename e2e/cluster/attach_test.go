//go:build e2e

package cluster

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/plugin"
)

// attach runs the plugin in the world's namespace, and returns what it printed.
func (w *world) attach(ctx context.Context, t *testing.T, args ...string) string {
	t.Helper()
	out, status := w.plugin(ctx, args...)
	t.Logf("kubectl tidelay %s:\n%s", strings.Join(args, " "), out)
	if status != 0 {
		t.Fatalf("exit status %d", status)
	}
	return out
}

func (w *world) plugin(ctx context.Context, args ...string) (string, int) {
	var out bytes.Buffer
	status := plugin.Main(ctx, plugin.Surroundings{
		IOStreams: genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &out},
	}, append([]string{"--kubeconfig", kubeconfig, "--namespace", w.namespace}, args...))
	return out.String(), status
}

// A running cluster gets agents and faults without a restart of anything. One whose agent is
// killed says so, and gets another one, which has its faults again. TiDB Operator goes on.
func TestAttach(t *testing.T) {
	theClaims.sideBySide(t, needs(theInjector), needs(theController), changes(plain))
	ctx, w := t.Context(), theWorld
	const longest = time.Hour
	before := w.databases(ctx, t)
	w.patchCluster(ctx, t, plain, `{"metadata":{"annotations":{%q:"true"}}}`, optIn)
	w.wantCondition(ctx, t, plain, corev1.ConditionFalse, "missed")

	said := w.attach(ctx, t, "attach", plain, "--dry-run")
	if _, agent := w.attachedTo(ctx, t, "tikv"); agent.Name != "" || !strings.Contains(said, "nothing was changed") {
		t.Fatalf("a dry run attached %q", agent.Name)
	}
	said = w.attach(ctx, t, "attach", plain, "--for", longest.String(), "--wait")
	for _, component := range components() {
		pod := w.pod(ctx, t, plain, component)
		if !strings.Contains(said, pod.Name+": tidelay-agent answers, engine ") {
			t.Errorf("it does not say that the agent of %s answers", pod.Name)
		}
	}
	w.wantSame(ctx, t, "after agents were attached", before)
	message := w.wantCondition(ctx, t, plain, corev1.ConditionTrue, "injected")
	if want := fmt.Sprintf("%d of %d pods carry the agent, %d of them attached", podsOf(plain), podsOf(plain), podsOf(plain)); !strings.HasPrefix(message, want) {
		t.Errorf("the condition says %q, want %q", message, want)
	}

	var from corev1.Pod
	if err := w.Get(ctx, pinger, w.namespace, &from); err != nil {
		t.Fatal(err)
	}
	const slow = 40 * time.Millisecond
	w.applyTo(ctx, t, plain, "attached", fmt.Sprintf("from: [tikv], to: [cidr/%s/32], rtt: %s, duration: 2h", from.Status.PodIP, slow))
	w.wantPhase(ctx, t, "attached", v1alpha1.Running, "Applied")
	tikv := w.pod(ctx, t, plain, "tikv")
	w.wantLeast(ctx, t, pinger, tikv.Status.PodIP, slow)
	w.wantLeast(ctx, t, pinger, w.pod(ctx, t, plain, "pd").Status.PodIP, 0)
	w.wantLives(ctx, t, tikv)

	w.killAttached(ctx, t)
	said, _ = w.plugin(ctx, "status", plain)
	if !strings.Contains(said, "problem: "+tikv.Name+": tidelay-agent ended") {
		t.Errorf("status does not name the agent that was killed:\n%s", said)
	}
	w.wantCondition(ctx, t, plain, corev1.ConditionFalse, "agent_not_running")
	w.wantPhase(ctx, t, "attached", v1alpha1.Running, "NotApplied")
	said = w.attach(ctx, t, "attach", plain, "--wait")
	if !strings.Contains(said, tikv.Name+": tidelay-agent-2 answers") || strings.Contains(said, w.pod(ctx, t, plain, "pd").Name+": tidelay-agent") {
		t.Error("not the pod with the dead agent alone got another")
	}
	w.wantPhase(ctx, t, "attached", v1alpha1.Running, "Applied")
	w.wantLeast(ctx, t, pinger, tikv.Status.PodIP, slow)
	w.remove(ctx, t, "attached")
	w.wantLeast(ctx, t, pinger, tikv.Status.PodIP, 0)
	w.wantSame(ctx, t, "after all", before)

	workloads := w.workloads(ctx, t, plain)
	w.syncOperator(ctx, t, plain)
	if diff := cmp.Diff(workloads, w.workloads(ctx, t, plain)); diff != "" {
		t.Errorf("TiDB Operator changes something (-before +after):\n%s", diff)
	}
	for _, pod := range w.restart(ctx, t, plain, "tikv", 1) {
		if agents(pod) != 1 || len(pod.Spec.EphemeralContainers) != 0 {
			t.Errorf("the new pod %s has %d agents and %d ephemeral containers, want it injected", pod.Name, agents(pod), len(pod.Spec.EphemeralContainers))
		}
	}
	w.unannotate(ctx, t, plain)
	w.recreate(ctx, t, plain, components()...)
	w.wantCondition(ctx, t, plain, "", "")
}

// databases returns which containers run in the pods of the TidbCluster plain, since when,
// and how often they were started.
func (w *world) databases(ctx context.Context, t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pod := range w.pods(ctx, t, plain, "") {
		for _, s := range pod.Status.ContainerStatuses {
			if s.State.Running == nil {
				t.Fatalf("container %s of pod %s does not run", s.Name, pod.Name)
			}
			all[pod.Name+" "+s.Name] = fmt.Sprintf("%s %s %s %d", pod.UID, s.ContainerID, s.State.Running.StartedAt, s.RestartCount)
		}
	}
	return all
}

func (w *world) wantSame(ctx context.Context, t *testing.T, when string, before map[string]string) {
	t.Helper()
	if now := w.databases(ctx, t); !maps.Equal(now, before) {
		t.Errorf("%s the containers are others (-before +now):\n%s", when, cmp.Diff(before, now))
	}
}

// attachedTo returns the pod of a component of the TidbCluster plain, and what kubelet says
// of the first agent that was attached to it.
func (w *world) attachedTo(ctx context.Context, t *testing.T, component string) (corev1.Pod, corev1.ContainerStatus) {
	t.Helper()
	pod := w.pod(ctx, t, plain, component)
	i := slices.IndexFunc(pod.Status.EphemeralContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == agentName })
	if i < 0 {
		return pod, corev1.ContainerStatus{}
	}
	return pod, pod.Status.EphemeralContainerStatuses[i]
}

// wantLives wants that each fault of a pod's agent ends by itself before long.
func (w *world) wantLives(ctx context.Context, t *testing.T, pod corev1.Pod) {
	t.Helper()
	faults, err := w.agent(ctx, t, pod).Faults(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(faults.Body.Faults) == 0 {
		t.Error("the agent has no fault")
	}
	for _, f := range faults.Body.Faults {
		ends, err := time.Parse(time.RFC3339, f.ExpiresAt)
		if err != nil || time.Until(ends) > 6*time.Minute {
			t.Errorf("fault %s ends %q, want that soon: %v", f.Name, f.ExpiresAt, err)
		}
	}
}

// killAttached kills the agent that was attached to TiKV, as the kernel does when memory is
// short, and waits until kubelet says so.
func (w *world) killAttached(ctx context.Context, t *testing.T) {
	t.Helper()
	pod, _ := w.attachedTo(ctx, t, "tikv")
	w.signaller(ctx, t, pod).send(ctx, t, "KILL", pod, agentName)
	err := w.poll(ctx, func(ctx context.Context) error {
		if _, agent := w.attachedTo(ctx, t, "tikv"); agent.State.Terminated == nil {
			return fmt.Errorf("the agent of %s has not ended: %+v", pod.Name, agent.State)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
