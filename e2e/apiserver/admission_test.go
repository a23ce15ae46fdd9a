//go:build apiserver

package apiserver

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
)

// admission is what became of one pod that was sent to the API server.
type admission struct {
	pod      *corev1.Pod      // as stored, or as it would be on a dry run
	warnings warnings         // what the client was told
	audit    auditEvent       // what the API server noted
	decided  map[decision]int // what world.injector counted meanwhile
}

// mode says whether a request changes anything.
type mode string

const (
	wet    mode = ""
	dryRun mode = "All"
)

// admit creates the pod and gathers what the three witnesses say.
func (n namespace) admit(pod *corev1.Pod) admission {
	n.t.Helper()
	return n.admitIn(wet, pod)
}

func (n namespace) admitIn(m mode, pod *corev1.Pod) admission {
	n.t.Helper()
	before := world.injector.decisions(n.t)
	var heard warnings
	stored, id, err := n.send(n.t.Context(), pod, m, &heard)
	must(n.t, err)
	return admission{
		pod:      stored,
		warnings: heard,
		audit:    world.audit.event(n.t, id),
		decided:  since(before, world.injector.decisions(n.t)),
	}
}

// post creates the pod and returns it as stored, with the request's audit ID.
func (n namespace) post(pod *corev1.Pod, m mode) (stored *corev1.Pod, auditID string) {
	n.t.Helper()
	stored, auditID, err := n.send(n.t.Context(), pod, m, &warnings{})
	must(n.t, err)
	return stored, auditID
}

func (n namespace) send(ctx context.Context, pod *corev1.Pod, m mode, heard *warnings) (stored *corev1.Pod, auditID string, err error) {
	auditID = string(uuid.NewUUID())
	request := world.pods.Post().Namespace(n.name).Resource("pods").
		SetHeader("Audit-ID", auditID).WarningHandler(heard).Body(pod)
	if m != wet {
		request.Param("dryRun", string(m))
	}
	stored = &corev1.Pod{}
	if err := request.Do(ctx).Into(stored); err != nil {
		return nil, "", fmt.Errorf("create pod %s%s: %w", pod.Name, pod.GenerateName, err)
	}
	return stored, auditID, nil
}

// warnings collects what kubectl would print as "Warning: ...".
type warnings []string

// HandleWarningHeader is rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _, text string) { *w = append(*w, text) }

// wants checks that the pod was decided once, for this reason, and that it
// carries exactly one agent when injected and is untouched otherwise.
func (a admission) wants(t *testing.T, reason, component string) {
	t.Helper()
	if got := a.audit.reason(); got != reason {
		t.Errorf("audit annotation says %q, want %q", got, reason)
	}
	if got := a.audit.Annotations[webhookName+"/component"]; got != component {
		t.Errorf("audit annotation says component %q, want %q", got, component)
	}
	if diff := cmp.Diff(map[decision]int{{reason, component}: 1}, a.decided, cmp.AllowUnexported(decision{})); diff != "" {
		t.Errorf("tidelay_admission_decisions_total (-want +got):\n%s", diff)
	}
	switch reason {
	case "injected":
		a.wantsOneAgent(t)
	case "refused":
		a.wantsRefused(t)
	default:
		a.wantsUntouched(t)
	}
}

func (a admission) wantsRefused(t *testing.T) {
	t.Helper()
	if got := a.pod.Annotations[notInjectedAnnotation]; agents(a.pod) != 0 || len(a.pod.Spec.Containers) != 1 || got != "refused" {
		t.Errorf("a refused pod has %d agents in %d containers, and annotation %q", agents(a.pod), len(a.pod.Spec.Containers), got)
	}
}

func (a admission) wantsOneAgent(t *testing.T) {
	t.Helper()
	if got := agents(a.pod); got != 1 {
		t.Errorf("pod has %d agents, want 1", got)
	}
	if _, ok := a.pod.Annotations[statusAnnotation]; !ok {
		t.Errorf("pod has no annotation %s", statusAnnotation)
	}
}

func (a admission) wantsUntouched(t *testing.T) {
	t.Helper()
	if a.audit.mutated() {
		t.Errorf("the injector changed the pod: %v", a.audit.Annotations)
	}
}

// wantsUnseen checks that the API server did not even ask the injector.
func (a admission) wantsUnseen(t *testing.T) {
	t.Helper()
	a.wantsUntouched(t)
	if calls := a.audit.calls(); calls != 0 {
		t.Errorf("the API server called the injector %d times", calls)
	}
	if len(a.decided) != 0 {
		t.Errorf("the injector decided %v", a.decided)
	}
}

func agents(pod *corev1.Pod) int {
	count := 0
	for _, container := range pod.Spec.Containers {
		if container.Name == agentName {
			count++
		}
	}
	return count
}
