//go:build apiserver

package apiserver

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// condition returns our condition of a TidbCluster, "status reason" and the
// message.
func (n namespace) condition(name string) (says, message string) {
	n.t.Helper()
	tc := n.custom("pingcap.com/v1alpha1", "TidbCluster", name, nil, nil)
	must(n.t, world.client.Get(n.t.Context(), client.ObjectKeyFromObject(tc), tc))
	conditions, _, err := unstructured.NestedSlice(tc.Object, "status", "conditions")
	must(n.t, err)
	for _, c := range conditions {
		if c := c.(map[string]any); c["type"] == "TidelayInjected" {
			return fmt.Sprintf("%s %s", c["status"], c["reason"]), c["message"].(string)
		}
	}
	return "", ""
}

// hasCondition waits until the condition of a TidbCluster says want, and
// returns its message.
func (n namespace) hasCondition(name, want string) string {
	n.t.Helper()
	var message string
	// The controller has to start, and has every test's clusters to look at.
	eventually(n.t, time.Minute, func() error {
		var says string
		if says, message = n.condition(name); says != want {
			return fmt.Errorf("condition of %s is %q (%s), want %q", name, says, message, want)
		}
		return nil
	})
	return message
}

// The pods of a cluster that is annotated while it runs were missed, and are
// found; nothing happens to them until they are made again.
func TestMissedPods(t *testing.T) {
	n := newNamespace(t)
	tc := n.cluster("basic", nil)
	set := n.statefulSet("basic-tikv", tc)
	old := n.pod("basic-tikv-0", "tikv", set)
	stored, _ := n.post(old, wet)
	other := n.cluster("other", nil)
	n.post(n.pod("other-tikv-0", "tikv", n.statefulSet("other-tikv", other)), wet)

	controller := newLeader(t)
	n.annotate(tc, "true")
	message := n.hasCondition("basic", "False missed")
	if !strings.HasPrefix(message, "1 of 1 pods go without the agent: basic-tikv-0 (missed)") {
		t.Errorf("message %q", message)
	}
	if event := n.eventOn("basic-tikv-0 (missed)"); event.Reason != "missed" || event.Regarding.Name != "basic" || event.Regarding.UID != tc.GetUID() || event.ReportingController != controllerName {
		t.Errorf("Event %s of %s about %s %s", event.Reason, event.ReportingController, event.Regarding.Name, event.Regarding.UID)
	}
	if got := controller.missed(t, n.name); got != 1 {
		t.Errorf("tidelay_missed_pods is %v, want 1", got)
	}

	// Another pod, made now, is injected, and the old one still there as it was.
	n.admit(n.pod("basic-tikv-1", "tikv", set)).wants(t, "injected", "tikv")
	eventually(t, time.Minute, func() error {
		if _, message := n.condition("basic"); !strings.HasPrefix(message, "1 of 2 pods") {
			return fmt.Errorf("message %q, want of 2 pods", message)
		}
		return nil
	})
	now := stored.DeepCopy()
	must(t, world.client.Get(t.Context(), client.ObjectKeyFromObject(stored), now))
	if now.UID != stored.UID || now.ResourceVersion != stored.ResourceVersion {
		t.Error("the check touched a pod")
	}

	n.remove(now)
	n.admit(n.pod("basic-tikv-0", "tikv", set)).wants(t, "injected", "tikv")
	n.hasCondition("basic", "True injected")
	if got := controller.missed(t, n.name); got != 0 {
		t.Errorf("tidelay_missed_pods is %v, want 0", got)
	}
	n.annotate(tc, "false")
	n.hasCondition("basic", "")
	if says, _ := n.condition("other"); says != "" {
		t.Errorf("a cluster that nobody annotated has the condition %q", says)
	}
}

// missed is tidelay_missed_pods summed over a namespace.
func (p *process) missed(t *testing.T, namespace string) float64 {
	t.Helper()
	sum, _ := p.gauge(t, "tidelay_missed_pods", namespace)
	return sum
}

// gauge is a gauge summed over a namespace, and whether it is there.
func (p *process) gauge(t *testing.T, name, namespace string) (sum float64, found bool) {
	t.Helper()
	for _, metric := range p.scrape(t, name) {
		for _, label := range metric.GetLabel() {
			if label.GetName() == "namespace" && label.GetValue() == namespace {
				sum, found = sum+metric.GetGauge().GetValue(), true
			}
		}
	}
	return sum, found
}

// One replica leads at a time, and another goes on when it has gone: after a while
// when it was killed, and at once when it was asked to end.
func TestMissedPodsByAnotherReplica(t *testing.T) {
	first := newLeader(t)
	must(t, first.waitReady(t.Context()))
	n := newNamespace(t)
	n.cluster("before", optedIn())
	n.hasCondition("before", "Unknown no_pods")
	second := newController(t)
	must(t, second.waitReady(t.Context()))
	if !first.leads(t) || second.leads(t) {
		t.Errorf("lead: first %t, second %t, want the first to", first.leads(t), second.leads(t))
	}
	first.kill()
	n.cluster("after", optedIn())
	n.hasCondition("after", "Unknown no_pods")

	third := newController(t)
	must(t, third.waitReady(t.Context()))
	must(t, second.cmd.Process.Signal(syscall.SIGTERM))
	asked := time.Now()
	<-second.exited
	if !second.cmd.ProcessState.Success() {
		t.Errorf("the controller ended with %s", second.cmd.ProcessState)
	}
	n.cluster("later", optedIn())
	n.hasCondition("later", "Unknown no_pods")
	if took := time.Since(asked); took > 13*time.Second {
		t.Errorf("the next replica took over after %s, so the lead was not given back", took)
	}
}

// A controller without the check runs, and has nothing to report.
func TestNoMissedCheck(t *testing.T) {
	idle, err := world.startProcess(t.Context(), controllerName, "--missed-check=0s")
	must(t, err)
	t.Cleanup(idle.kill)
	must(t, idle.waitReady(t.Context()))
	if metrics := idle.scrape(t, "tidelay_missed_pods"); len(metrics) > 0 {
		t.Errorf("tidelay_missed_pods is there: %v", metrics)
	}
}

// With the token of the controller nobody can change more of a TidbCluster than our
// condition.
func TestPolicyBindsTheController(t *testing.T) {
	config, err := clientcmd.BuildConfigFromFlags("", world.kubeconfigs[controllerName])
	must(t, err)
	controller, err := client.New(config, client.Options{})
	must(t, err)
	n := newNamespace(t)
	tc := n.cluster("basic", optedIn())
	condition := `{"type":"TidelayInjected","status":"True","reason":"injected","message":"x","lastUpdateTime":"2026-01-02T03:04:05Z","lastTransitionTime":"2026-01-02T03:04:05Z"}`
	// What TiDB Operator would have written.
	admin := `{"status":{"clusterID":"7","conditions":[{"type":"Ready","status":"True","reason":"Ready","message":"","lastUpdateTime":null,"lastTransitionTime":null}]}}`
	must(t, world.client.Patch(t.Context(), tc, client.RawPatch(types.MergePatchType, []byte(admin))))

	apply := func(kind types.PatchType, patch string) error {
		return controller.Patch(t.Context(), tc.DeepCopy(), client.RawPatch(kind, []byte(patch)))
	}
	add := `[{"op":"add","path":"/status/conditions/-","value":` + condition + `}]`
	if err := apply(types.JSONPatchType, add); err != nil {
		t.Errorf("the condition cannot be written: %v", err)
	}
	for name, patch := range map[string]string{
		"its spec":                 `{"spec":{"version":"v0.0.0"}}`,
		"its annotations":          `{"metadata":{"annotations":{"tidelay.io/inject":"false"}}}`,
		"its labels":               `{"metadata":{"labels":{"a":"b"}}}`,
		"its finalizers":           `{"metadata":{"finalizers":["a.b/c"]}}`,
		"another field of status":  `{"status":{"clusterID":"8"}}`,
		"a new field of status":    `{"status":{"pd":{"phase":"Upgrade"}}}`,
		"the whole of status":      `{"status":null}`,
		"a field of status away":   `{"status":{"clusterID":null}}`,
		"another condition":        `{"status":{"conditions":[{"type":"Ready","status":"False","reason":"","message":"","lastUpdateTime":null,"lastTransitionTime":null},` + condition + `]}}`,
		"another condition's loss": `{"status":{"conditions":[` + condition + `]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			err := apply(types.MergePatchType, patch)
			if err == nil || !strings.Contains(err.Error(), "the controller changes no") {
				t.Errorf("got %v, want it forbidden by the policy", err)
			}
		})
	}
	// The CRD allows it.
	must(t, world.client.Patch(t.Context(), tc, client.RawPatch(types.MergePatchType, []byte(`{"status":{"conditions":null}}`))))
	if err := apply(types.MergePatchType, `{"status":{"conditions":[`+condition+`]}}`); err != nil {
		t.Errorf("the condition cannot be written where there is none: %v", err)
	}
	// Nobody else is held.
	must(t, world.client.Patch(t.Context(), tc, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`))))
}
