//go:build apiserver

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// asking has the database ask for so much CPU, and limits it to that.
func asking(cpu string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		size := corev1.ResourceList{"cpu": resource.MustParse(cpu)}
		pod.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: size, Limits: size}
	}
}

// refusesTwice asks for an annotated pod as its controller does, and wants it refused
// each time. It returns what the API server says.
func (n namespace) refusesTwice(pod *corev1.Pod) (refusal string) {
	n.t.Helper()
	for range 2 {
		_, _, err := n.send(n.t.Context(), pod, wet, &warnings{})
		if err == nil {
			n.t.Fatal("nothing refuses the pod, and the test proves nothing")
		}
		refusal = err.Error()
	}
	return refusal
}

// inForce waits until a pod that has nothing to do with Tidelay is refused.
func (n namespace) inForce(pod *corev1.Pod) {
	n.t.Helper()
	eventually(n.t, 20*time.Second, func() error {
		if _, _, err := n.send(n.t.Context(), pod, dryRun, &warnings{}); err == nil {
			return errors.New("what is to refuse pods is not in force")
		}
		return nil
	})
}

// limitRange has every container ask for more CPU than the agent does.
func (n namespace) limitRange() {
	n.t.Helper()
	n.make(&corev1.LimitRange{ObjectMeta: n.meta("limits", nil), Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{
		{Type: corev1.LimitTypeContainer, Min: corev1.ResourceList{"cpu": resource.MustParse("100m")}},
	}}})
	n.inForce(n.pod("small", "tikv", nil, asking("10m")))
}

// quota leaves as much as the database asks for, and nothing for the agent.
func (n namespace) quota() {
	n.t.Helper()
	hard := corev1.ResourceList{"requests.cpu": resource.MustParse("1")}
	quota := &corev1.ResourceQuota{ObjectMeta: n.meta("quota", nil), Spec: corev1.ResourceQuotaSpec{Hard: hard}}
	n.make(quota)
	// The quota controller's part.
	quota.Status.Hard, quota.Status.Used = hard, corev1.ResourceList{"requests.cpu": resource.MustParse("0")}
	must(n.t, world.client.Status().Update(n.t.Context(), quota))
	n.inForce(n.pod("large", "tikv", nil, asking("1001m")))
}

// policy has every image come from PingCAP. It returns how to take it away.
func (n namespace) policy() (remove func()) {
	n.t.Helper()
	name := "images-" + n.name
	meta := metav1.ObjectMeta{Name: name}
	pods := admissionregistrationv1.NamedRuleWithOperations{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
		Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
		Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
	}}
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: meta, Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{pods}},
		Validations: []admissionregistrationv1.Validation{{
			Expression: "object.spec.containers.all(c, c.image.startsWith('pingcap/'))", Message: "only images of pingcap/",
		}},
	}}
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: meta, Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: name, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		MatchResources: &admissionregistrationv1.MatchResources{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: n.name}},
		},
	}}
	n.make(policy)
	n.make(binding)
	foreign := n.pod("foreign", "tikv", nil, func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = "example.com/other" })
	n.inForce(foreign)
	ctx := context.WithoutCancel(n.t.Context())
	gone := func() error {
		return errors.Join(client.IgnoreNotFound(world.client.Delete(ctx, binding)), client.IgnoreNotFound(world.client.Delete(ctx, policy)))
	}
	n.t.Cleanup(func() { must(n.t, gone()) })
	return func() {
		must(n.t, gone())
		eventually(n.t, 20*time.Second, func() error {
			_, _, err := n.send(n.t.Context(), foreign, dryRun, &warnings{})
			return err
		})
	}
}

// Whatever refuses a pod with the agent that it admits without: the pod is made
// without at the third time, and the owner of the TidbCluster is told.
func TestRefusedPodsAreMade(t *testing.T) {
	for name, test := range map[string]struct {
		refuse  func(namespace)
		refusal string
	}{
		"LimitRange":    {namespace.limitRange, "minimum cpu usage per Container is 100m"},
		"ResourceQuota": {namespace.quota, "exceeded quota"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNamespace(t)
			pod := n.tikv(optedIn(), asking("1"))
			test.refuse(n)
			if refusal := n.refusesTwice(pod); !strings.Contains(refusal, test.refusal) {
				t.Errorf("the pod is refused by %q, want %q", refusal, test.refusal)
			}
			n.admit(pod).wants(t, "refused", "tikv")
			if event := n.eventOn(pod.Name); event.Reason != "refused" || event.Type != "Warning" || event.Regarding.Name != "basic" {
				t.Errorf("Event %s %s on %s, want Warning refused", event.Type, event.Reason, event.Regarding.Name)
			}
		})
	}
}

// From the refusal by a policy over its sentence in the condition to the first pod
// that is injected.
func TestRefusedByAPolicy(t *testing.T) {
	newLeader(t)
	n := newNamespace(t)
	remove := n.policy()
	set := n.statefulSet("basic-tikv", n.cluster("basic", optedIn()))
	pod := func(name, revision string) *corev1.Pod {
		return n.pod(name, "tikv", set, func(pod *corev1.Pod) { pod.Labels["controller-revision-hash"] = revision })
	}
	refusal := n.refusesTwice(pod("basic-tikv-0", "1"))
	n.make(&corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: n.name, Name: "failed"},
		InvolvedObject: corev1.ObjectReference{APIVersion: "apps/v1", Kind: "StatefulSet", Namespace: n.name, Name: set.Name, UID: set.UID},
		Type:           corev1.EventTypeWarning, Reason: "FailedCreate", LastTimestamp: metav1.Now(),
		Message: "create Pod basic-tikv-0 in StatefulSet basic-tikv failed error: " + refusal,
	})
	n.admit(pod("basic-tikv-0", "1")).wants(t, "refused", "tikv")
	message := n.hasCondition("basic", "False refused")
	if !strings.HasPrefix(message, "1 of 1 pods go without the agent: basic-tikv-0 (refused)") || !strings.Contains(message, "only images of pingcap/") {
		t.Errorf("message %q, want the sentence of %q", message, refusal)
	}

	// What refuses one pod refuses the others of its StatefulSet, but maybe not in
	// another revision.
	n.admit(pod("basic-tikv-1", "1")).wants(t, "refused", "tikv")
	must(t, world.client.Delete(t.Context(), pod("basic-tikv-1", "1"), client.GracePeriodSeconds(0)))
	must(t, world.client.Delete(t.Context(), pod("basic-tikv-0", "1"), client.GracePeriodSeconds(0)))
	n.refusesTwice(pod("basic-tikv-0", "2"))
	remove()
	n.admit(pod("basic-tikv-0", "3")).wants(t, "injected", "tikv")
	n.hasCondition("basic", "True injected")
	eventually(t, 10*time.Second, func() error {
		told := map[types.UID]string{}
		for _, event := range n.events() {
			if event.Regarding.Kind == "TidbCluster" {
				told[event.UID] = fmt.Sprintf("%s %s %s", event.Type, event.Reason, event.Related.Name)
			}
		}
		var refused, injected, other int
		for _, text := range told {
			switch text {
			case "Warning refused basic-tikv-0", "Warning refused basic-tikv-1":
				refused++
			case "Normal injected basic-tikv-0":
				injected++
			default:
				other++
			}
		}
		if refused != 2 || injected != 1 || other != 0 {
			return fmt.Errorf("Events %q, want refused of both pods, and injected of basic-tikv-0", told)
		}
		return nil
	})
}
