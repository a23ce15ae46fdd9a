//go:build e2e

package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/e2e-framework/klient/k8s"
)

// tokenSecret is the Secret that a line of manifests/config.yaml names, which is a comment until
// somebody wants tokens.
const tokenSecret = "tidelay-token"

// Where agents ask for a token, who may read its Secret does everything as without one. Who may
// not is told so, and still sets and clears faults by the controller.
func TestPluginWithTokens(t *testing.T) {
	theClaims.sideBySide(t, changes(theInjector), needs(theController), changes(plain), changes(annotated)) // clear --all is of the namespace
	ctx, w := t.Context(), theWorld
	for _, each := range []*world{theWorld, theFaulted} { // the controller wants the Secret wherever it has faults
		each.makeToken(ctx, t)
	}
	w.patchCluster(ctx, t, plain, `{"metadata":{"annotations":{%q:"true"}}}`, optIn)
	t.Cleanup(func() {
		ctx := context.Background()
		w.removeAll(ctx, t, plain)
		w.setTokens(ctx, t, false)
		w.unannotate(ctx, t, plain)
		w.recreate(ctx, t, plain, components()...)
		w.wantCondition(ctx, t, plain, "", "")
	})
	w.setTokens(ctx, t, true)
	w.recreate(ctx, t, plain, components()...)
	w.wantCondition(ctx, t, plain, corev1.ConditionTrue, "injected") // else status may tell what was before

	s := newScript(t, w, plain)
	asker := w.role(ctx, t, "asker",
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods/proxy"}, Verbs: []string{"get", "create", "update", "delete"}},
		rbacv1.PolicyRule{APIGroups: []string{"pingcap.com"}, Resources: []string{"tidbclusters"}, Verbs: []string{"get", "list"}})
	reader := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: tokenSecret}
	rights := []rbacv1.RoleRef{clusterRole("view"), clusterRole("tidelay-operator"), asker}
	s.users = map[string]user{
		"untrusted": w.account(ctx, t, "untrusted", rights...),
		"trusted":   w.account(ctx, t, "trusted", append(rights, reader)...),
	}
	s.follow(ctx, t, "testdata/plugin/elsewhere/tokens.txt")
}

// makeToken makes the Secret in the world's namespace, and lets the controller read it, as
// docs/security.md has it.
func (w *world) makeToken(ctx context.Context, t *testing.T) {
	t.Helper()
	w.make(ctx, t, &corev1.Secret{ObjectMeta: w.named(tokenSecret), StringData: map[string]string{"token": "open sesame"}})
	role := w.role(ctx, t, tokenSecret, rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{tokenSecret}, Verbs: []string{"get"},
	})
	w.bind(ctx, t, controllerName+"-"+tokenSecret, role, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Name: controllerName, Namespace: tidelayNamespace})
}

// role makes a role in the namespace, for as long as the test runs.
func (w *world) role(ctx context.Context, t *testing.T, name string, rules ...rbacv1.PolicyRule) rbacv1.RoleRef {
	t.Helper()
	w.make(ctx, t, &rbacv1.Role{ObjectMeta: w.named(name), Rules: rules})
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}
}

// setTokens has the configuration name the Secret or not, and waits until pods are made like
// that by all replicas of the injector.
func (w *world) setTokens(ctx context.Context, t *testing.T, on bool) {
	t.Helper()
	const line = "tokenSecret: " + tokenSecret
	var config corev1.ConfigMap
	if err := w.injector.Get(ctx, injectorName, tidelayNamespace, &config); err != nil {
		t.Fatal(err)
	}
	for name, content := range config.Data {
		content = strings.ReplaceAll(content, "# "+line, line)
		if !strings.Contains(content, line) {
			t.Fatalf("%s does not have the line %q", name, line)
		}
		if !on {
			content = strings.ReplaceAll(content, line, "# "+line)
		}
		config.Data[name] = content
	}
	if err := w.injector.Update(ctx, &config); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	w.haveKubeletLook(ctx, t)
	err := w.poll(ctx, func(ctx context.Context) error {
		const inARow = 20 // by both replicas
		for i := range inARow {
			if hasToken(w.remade(ctx, t)) != on {
				return fmt.Errorf("of pods made now the agent of number %d asks for a token: %t, want %t", i, !on, on)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("tokens %t after %s", on, time.Since(start).Round(time.Second/10))
}

// haveKubeletLook has kubelet write a ConfigMap into Tidelay's own pods that has changed. By
// itself it does that within a minute or two, and at once when something of the pod changes.
func (w *world) haveKubeletLook(ctx context.Context, t *testing.T) {
	t.Helper()
	var pods corev1.PodList
	err := w.injector.List(ctx, &pods)
	for _, pod := range pods.Items {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"tidelay.io/e2e-look":%q}}}`, time.Now().Format(time.RFC3339Nano))
		err = errors.Join(err, w.injector.Patch(ctx, &pod, k8s.Patch{PatchType: types.MergePatchType, Data: patch}))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// hasToken reports whether the agent of a pod has a token.
func hasToken(pod corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Secret != nil && v.Secret.SecretName == tokenSecret })
}
