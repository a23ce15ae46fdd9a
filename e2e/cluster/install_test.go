//go:build e2e

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/e2e-framework/klient/k8s/resources"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
)

// With its ports on the node there is room for no more replicas than nodes, so that one
// has to go before the next can come. Taken away, Tidelay leaves nothing behind, not even
// faults that are in force; applied again it injects within seconds, from no certificate
// and no CA on.
func TestInstall(t *testing.T) {
	theClaims.sideBySide(t, changes(theInjector), changes(theController), changes(abandoned))
	testEnv.Test(t, features.New("the manifests").
		Assess("on the host's network with as many replicas as nodes: a rollout finishes", func(ctx context.Context, t *testing.T, cfg *envconf.Config) context.Context {
			t.Cleanup(func() {
				if t.Failed() {
					reinstall(ctx, t, cfg)
				}
			})
			var nodes corev1.NodeList
			if err := theWorld.injector.List(ctx, &nodes); err != nil {
				t.Fatal(err)
			}
			applyVariant(ctx, t, fmt.Sprintf(`
components: [MANIFESTS/overlays/host-network]
replicas: [{name: %s, count: %d}]`, injectorName, len(nodes.Items)))
			rolloutStatus(ctx, t)
			start := time.Now()
			restart := exec.CommandContext(ctx, kubectl, "-n", tidelayNamespace, "rollout", "restart", "deployment/"+injectorName)
			if out, err := restart.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			rolloutStatus(ctx, t)
			t.Logf("%d nodes: rolled out in %s", len(nodes.Items), time.Since(start).Round(time.Second))
			if n := agents(theWorld.remade(ctx, t)); n != 1 {
				t.Errorf("a pod has %d agents after the rollout, want 1", n)
			}
			return ctx
		}).
		Assess("deleted while faults run: they end by themselves", func(ctx context.Context, t *testing.T, cfg *envconf.Config) context.Context {
			t.Cleanup(func() {
				if t.Failed() {
					reinstall(ctx, t, cfg)
				}
			})
			theFaulted.uninstallUnderFaults(ctx, t, func() error {
				_, err := uninstall(ctx, cfg)
				return err
			})
			return ctx
		}).
		Assess("by Helm: the same", func(ctx context.Context, t *testing.T, cfg *envconf.Config) context.Context {
			t.Cleanup(func() {
				if t.Failed() {
					reinstall(ctx, t, cfg)
				}
			})
			chart := filepath.Join("..", "..", "manifests", "chart")
			if err := runHelm(ctx, t, "install", "--create-namespace", "--wait", "tidelay", chart); err != nil {
				t.Fatal(err)
			}
			theFaulted.wantMatrixOf(ctx, t, abandoned, settles, "with a new controller", flat)
			theFaulted.uninstallUnderFaults(ctx, t, func() error {
				return errors.Join(runHelm(ctx, t, "uninstall", "--wait", "tidelay"), deleteNamespace(ctx))
			})
			return ctx
		}).
		Assess("applied again: the next pod is injected, and no fault comes back", func(ctx context.Context, t *testing.T, cfg *envconf.Config) context.Context {
			applied := time.Now()
			if _, err := install(ctx, cfg); err != nil {
				t.Fatal(err)
			}
			available := time.Since(applied)
			err := theWorld.poll(ctx, func(ctx context.Context) error {
				if n := agents(theWorld.remade(ctx, t)); n != 1 {
					return errors.New("a pod has no agent")
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("available %s and injecting %s after kubectl apply began", available.Round(time.Second/10), time.Since(applied).Round(time.Second/10))
			// The controller that starts takes from agents what no object asks for.
			theFaulted.wantMatrixOf(ctx, t, abandoned, settles, "with a new controller", flat)
			theFaulted.wantNoFaults(ctx, t, abandoned)
			return ctx
		}).Feature())
}

// reinstall applies the manifests again, and waits until the replicas are as they say.
func reinstall(ctx context.Context, t *testing.T, cfg *envconf.Config) {
	t.Helper()
	if _, err := install(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	rolloutStatus(ctx, t)
}

// applyVariant applies a kustomization of the manifests with more lines, in which
// MANIFESTS is their folder.
func applyVariant(ctx context.Context, t *testing.T, lines string) {
	t.Helper()
	dir := t.TempDir()
	manifests, err := filepath.Abs(filepath.Join("..", "..", "manifests"))
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(dir, manifests)
	if err != nil {
		t.Fatal(err)
	}
	text := "resources: [" + relative + "]\n" + strings.ReplaceAll(lines, "MANIFESTS", relative)
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(ctx, kubectl, "apply", "-k", dir).CombinedOutput(); err != nil {
		t.Fatalf("apply %s: %v\n%s", text, err, out)
	}
}

// remade is the TiKV pod of the annotated cluster as it would be made now.
func (w *world) remade(ctx context.Context, t *testing.T) corev1.Pod {
	t.Helper()
	pod := w.podToRemake(ctx, t, annotated)
	if err := w.dryRun(ctx, &pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

// podToRemake is the TiKV pod of a cluster before its admission.
func (w *world) podToRemake(ctx context.Context, t *testing.T, cluster string) corev1.Pod {
	t.Helper()
	old := w.pods(ctx, t, cluster, "tikv")[0]
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.namespace, GenerateName: "remade-", Labels: old.Labels, OwnerReferences: old.OwnerReferences,
	}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "tikv", Image: "pingcap/tikv"}}}}
}

// dryRun makes of pod what its admission would.
func (w *world) dryRun(ctx context.Context, pod *corev1.Pod) error {
	return w.Create(ctx, pod, resources.CreateOption(func(o *metav1.CreateOptions) { o.DryRun = []string{metav1.DryRunAll} }))
}
