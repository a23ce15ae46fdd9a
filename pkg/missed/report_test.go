package missed

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/injection"
)

func TestReport(t *testing.T) {
	tests := map[string]struct {
		reasons []injection.Reason // of pod-0, pod-1, ...
		status  corev1.ConditionStatus
		reason  injection.Reason
		message string
		missed  int
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
		"of both": {
			reasons: []injection.Reason{injection.HostNetwork, injection.Injected},
			status:  corev1.ConditionFalse, reason: Missed, missed: 1,
			message: "2 of 2 pods go without the agent: pod-0 (host_network), pod-1 (missed); those missed",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var r Report
			// In another order than the names'.
			for i, reason := range slices.Backward(test.reasons) {
				r.add(fmt.Sprintf("pod-%d", i), reason)
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
		r.add(fmt.Sprintf("pod-%03d", i), injection.Injected)
	}
	if got := r.message(); len(got) > 1024 || !strings.Contains(got, "pod-009 (missed), 990 more;") {
		t.Errorf("message of %d bytes: %s", len(got), got)
	}
}
