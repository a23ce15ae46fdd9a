//go:build e2e

package cluster

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
)

// Somebody else's policy that refuses the agent does not keep a database from
// starting: the real controllers ask again, and the pods start without it.
func TestRefusedByAPolicy(t *testing.T) {
	theClaims.sideBySide(t, needs(theInjector), needs(theController), changes(annotated))
	testEnv.Test(t, features.New("a policy against the agent").
		Assess("pods start without it, and with it when the policy is gone", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			allow := theWorld.forbidAgents(ctx, t)
			for _, pod := range theWorld.recreate(ctx, t, annotated, components()...) {
				if agents(pod) != 0 {
					t.Errorf("pod %s has %d agents in spite of the policy", pod.Name, agents(pod))
				}
			}
			message := theWorld.wantCondition(ctx, t, annotated, corev1.ConditionFalse, "refused")
			if !strings.Contains(message, "(refused)") || !strings.Contains(message, "no agents here") {
				t.Errorf("the condition does not say what refuses the agent: %s", message)
			}
			allow()
			for _, pod := range theWorld.restart(ctx, t, annotated, "", podsOf(annotated)) {
				if agents(pod) != 1 {
					t.Errorf("the new pod %s has %d agents, want 1", pod.Name, agents(pod))
				}
			}
			theWorld.wantCondition(ctx, t, annotated, corev1.ConditionTrue, "injected")
			return ctx
		}).Feature())
}

// forbidAgents has the API server refuse each pod of the annotated cluster with an
// agent, until the test ends or the returned function is called.
func (w *world) forbidAgents(ctx context.Context, t *testing.T) (allow func()) {
	t.Helper()
	meta := metav1.ObjectMeta{Name: namespace + "-no-agents"}
	labels := map[string]string{"app.kubernetes.io/instance": annotated}
	pods := admissionregistrationv1.NamedRuleWithOperations{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
		Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
		Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
	}}
	objects := []object{
		&admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: meta, Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{pods}},
			Validations: []admissionregistrationv1.Validation{{
				Expression: "object.spec.containers.all(c, c.name != '" + agentName + "')", Message: "no agents here",
			}},
		}},
		&admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: meta, Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: meta.Name, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
			MatchResources: &admissionregistrationv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}},
				ObjectSelector:    &metav1.LabelSelector{MatchLabels: labels},
			},
		}},
	}
	for _, o := range objects {
		if err := w.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	remove := sync.OnceFunc(func() {
		for _, o := range objects {
			if err := w.Delete(context.WithoutCancel(ctx), o); err != nil {
				t.Error(err)
			}
		}
	})
	t.Cleanup(remove)
	refused := func(want bool) error {
		probe := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "probe", Namespace: namespace, Labels: labels}}
		probe.Spec.Containers = []corev1.Container{{Name: agentName, Image: pingerImage}}
		err := w.Create(ctx, probe, func(o *metav1.CreateOptions) { o.DryRun = []string{metav1.DryRunAll} })
		if got := err != nil && strings.Contains(err.Error(), "no agents here"); got != want {
			return errors.Join(errors.New("the policy is not in force, or no longer"), err)
		}
		return nil
	}
	if err := w.poll(ctx, func(context.Context) error { return refused(true) }); err != nil {
		t.Fatal(err)
	}
	return func() {
		remove()
		if err := w.poll(ctx, func(context.Context) error { return refused(false) }); err != nil {
			t.Fatal(err)
		}
	}
}
