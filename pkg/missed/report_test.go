package missed

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/injection"
)

func TestReport(t *testing.T) {
	now := time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		reasons    []injection.Reason // of pod-0, pod-1, ...
		notRunning bool               // the agents of those that have one
		blocked    *obstacle
		strict     string
		undecided  []error
		status     corev1.ConditionStatus
		reason     injection.Reason
		message    string
		missed     int
	}{
		"of no pods": {status: corev1.ConditionUnknown, reason: NoPods, message: "no pod is asked for yet"},
		"of pods nobody asked for": {
			reasons: []injection.Reason{injection.ComponentExcluded, injection.OptedOut, injection.NotOptedIn, injection.ClusterDeleting},
			status:  corev1.ConditionUnknown, reason: NoPods, message: "no pod is asked for yet",
		},
		"of injected pods": {
			reasons: []injection.Reason{injection.AlreadyInjected, injection.AlreadyInjected, injection.OptedOut},
			status:  corev1.ConditionTrue, reason: injection.Injected, message: "2 of 2 pods carry the agent",
		},
		"of missed pods": {
			reasons: []injection.Reason{injection.Injected, injection.AlreadyInjected, injection.Injected},
			status:  corev1.ConditionFalse, reason: Missed, missed: 2,
			message: "2 of 3 pods go without the agent: pod-0 (missed), pod-2 (missed); those missed get it when they are next created, and Tidelay restarts none",
		},
		"of pods that cannot be injected": {
			reasons: []injection.Reason{injection.AlreadyInjected, injection.HostNetwork},
			status:  corev1.ConditionFalse, reason: injection.HostNetwork, message: "1 of 2 pods go without the agent: pod-1 (host_network)",
		},
		"of pods that were made while nobody could inject them": {
			reasons: []injection.Reason{injection.Injected, injection.AlreadyInjected}, blocked: &obstacle{WebhookMissing, "there is none"},
			status: corev1.ConditionFalse, reason: WebhookMissing, message: "1 of 2 pods go without the agent: pod-0 (webhook_missing); a pod that is created now goes without it: there is none",
		},
		"of injected pods that would not be injected now": {
			reasons: []injection.Reason{injection.AlreadyInjected}, blocked: &obstacle{WebhookMissing, "there is none"},
			status: corev1.ConditionFalse, reason: WebhookMissing, message: "1 of 1 pods carry the agent; a pod that is created now goes without it: there is none",
		},
		"of pods that are made only while the injector answers": {
			reasons: []injection.Reason{injection.AlreadyInjected}, strict: "failurePolicy is Fail",
			status: corev1.ConditionFalse, reason: WebhookFailurePolicy,
			message: "1 of 1 pods carry the agent; no pod of a TidbCluster is made while the injector does not answer: failurePolicy is Fail",
		},
		"of pods that are not made since it does not": {
			reasons: []injection.Reason{injection.Injected}, strict: "failurePolicy is Fail", blocked: &obstacle{InjectorNotReady, "none is"},
			status: corev1.ConditionFalse, reason: InjectorNotReady,
			message: "1 of 1 pods go without the agent: pod-0 (injector_not_ready); a pod that is created now is not made at all: none is; no pod of a TidbCluster is made while",
		},
		"of pods that it is not asked about": {
			reasons: []injection.Reason{injection.AlreadyInjected}, strict: "failurePolicy is Fail", blocked: &obstacle{WebhookRules, "no rule"},
			status: corev1.ConditionFalse, reason: WebhookRules, message: "1 of 1 pods carry the agent; a pod that is created now goes without it: no rule",
		},
		"of agents that do not run": {
			reasons: []injection.Reason{injection.AlreadyInjected, injection.AlreadyInjected, injection.Injected}, notRunning: true,
			status: corev1.ConditionFalse, reason: AgentNotRunning, missed: 1,
			message: "the agent does not run in 2 of 3 pods: pod-0 (CreateContainerError), pod-1 (CreateContainerError); 1 of 3 pods go without the agent: pod-2 (missed); those missed",
		},
		"of a missed pod and one that could not be checked": {
			reasons: []injection.Reason{injection.Injected}, undecided: []error{errors.New("pod pod-7: forbidden")},
			status: corev1.ConditionFalse, reason: Missed, missed: 1,
			message: "1 of 1 pods go without the agent: pod-0 (missed); those missed get it when they are next created, and Tidelay restarts none; 1 more could not be checked, and the controller's log says why",
		},
		"of both": {
			reasons: []injection.Reason{injection.HostNetwork, injection.Injected},
			status:  corev1.ConditionFalse, reason: Missed, missed: 1,
			message: "2 of 2 pods go without the agent: pod-0 (host_network), pod-1 (missed); those missed",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := Report{undecided: test.undecided, strict: test.strict}
			// In another order than the names'.
			for i, reason := range slices.Backward(test.reasons) {
				pod := &corev1.Pod{}
				pod.Name = fmt.Sprintf("pod-%d", i)
				if test.notRunning {
					pod.Spec.Containers = []corev1.Container{injectedContainer()}
					pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: injection.ContainerName, State: waiting("CreateContainerError", "no")}}
				}
				r.add(pod, reason, test.blocked, now)
			}
			got := r.condition()
			if got.Status != test.status || got.Reason != string(test.reason) || !strings.HasPrefix(got.Message, test.message) {
				t.Errorf("%s %s %q\nwant %s %s %q", got.Status, got.Reason, got.Message, test.status, test.reason, test.message)
			}
			if r.Missed() != test.missed {
				t.Errorf("%d missed, want %d", r.Missed(), test.missed)
			}
		})
	}
}

func TestReportOfManyPods(t *testing.T) {
	var r Report
	for i := range 1000 {
		pod := &corev1.Pod{}
		pod.Name = fmt.Sprintf("pod-%03d", i)
		r.add(pod, injection.Injected, nil, time.Now())
	}
	if got := r.message(); len(got) > 1024 || !strings.Contains(got, "pod-009 (missed), 990 more;") {
		t.Errorf("message of %d bytes: %s", len(got), got)
	}
}
