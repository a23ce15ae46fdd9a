//go:build apiserver

package apiserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"
)

// An upgrade brings the new CRDs and keeps faults and topologies. After an uninstall the
// CRDs and the objects are gone, and none is stuck.
func TestUpgradeAndUninstall(t *testing.T) {
	base, err := filepath.Abs(manifests)
	must(t, err)
	n := namespace{t: t, name: "default"}
	older := t.TempDir()
	must(t, os.CopyFS(older, os.DirFS(base)))
	kinds := map[string]func(name, fields string) *unstructured.Unstructured{faultResource: n.fault, topologyResource: n.topology}
	for resource := range kinds {
		removeField(t, filepath.Join(older, "crds", "tidelay.io_"+resource+".yaml"), "paused")
	}

	for name, by := range map[string]struct {
		install, upgrade, uninstall func(*suite, context.Context) error
	}{
		"kustomize": {
			install: func(s *suite, ctx context.Context) error { return s.kubectl.run(ctx, "apply", "-k", older) },
			upgrade: func(s *suite, ctx context.Context) error { return s.kubectl.run(ctx, "apply", "-k", base) },
			uninstall: func(s *suite, ctx context.Context) error {
				return s.kubectl.run(ctx, "delete", "--wait=false", "-k", base)
			},
		},
		"helm": {
			install: func(s *suite, ctx context.Context) error {
				return s.helm(ctx, "install", "tidelay", filepath.Join(older, "chart"))
			},
			upgrade: func(s *suite, ctx context.Context) error {
				return s.helm(ctx, "upgrade", "tidelay", filepath.Join(base, "chart"))
			},
			uninstall: func(s *suite, ctx context.Context) error { return s.helm(ctx, "uninstall", "tidelay") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, ctx := newPlane(t), t.Context()
			must(t, by.install(s, ctx))
			made := map[string]*unstructured.Unstructured{}
			for resource, object := range kinds {
				kept, paused := object("kept", "allow: [Upgrade]"), object("paused", "paused: true")
				eventually(t, 30*time.Second, func() error { return s.client.Create(ctx, kept, strictly) })
				if err := s.client.Create(ctx, paused, strictly); err == nil || !strings.Contains(err.Error(), "paused") {
					t.Fatalf("the older CRD of %s knows the field paused (%v), and the test proves nothing", resource, err)
				}
				made[resource] = kept
			}

			must(t, by.upgrade(s, ctx))
			for resource, object := range kinds {
				eventually(t, 30*time.Second, func() error { return s.client.Create(ctx, object("paused", "paused: true"), strictly) })
				s.isKept(t, made[resource])
			}

			must(t, by.uninstall(s, ctx))
			for resource := range kinds {
				eventually(t, 30*time.Second, func() error { return s.isGone(ctx, resource, "kept") })
			}
		})
	}
}

// isKept checks that an object is as it was made before the upgrade, with the default of
// the new field.
func (s *suite) isKept(t *testing.T, before *unstructured.Unstructured) {
	t.Helper()
	after := before.DeepCopy()
	must(t, s.client.Get(t.Context(), client.ObjectKeyFromObject(before), after))
	spec, _, err := unstructured.NestedMap(after.Object, "spec")
	must(t, err)
	if spec["paused"] != false {
		t.Errorf("the new field has %v in a %s from before, want its default", spec["paused"], before.GetKind())
	}
	delete(spec, "paused")
	if old := before.Object["spec"]; after.GetUID() != before.GetUID() || asJSON(t, spec) != asJSON(t, old) {
		t.Errorf("the upgrade made of\n%s\n%s", asJSON(t, old), asJSON(t, spec))
	}
}

// isGone is an error while the CRD of a resource or an object of it is there. Objects that
// hang in their deletion would keep the CRD too.
func (s *suite) isGone(ctx context.Context, resource, name string) error {
	if _, err := getCRD(ctx, s.client, resource); !apierrors.IsNotFound(err) {
		return fmt.Errorf("the CRD of %s is still there: %w", resource, err)
	}
	if err := s.kubectl.run(ctx, "get", "--raw", "/apis/"+faultVersion+"/namespaces/default/"+resource+"/"+name); err == nil {
		return fmt.Errorf("%s of %s is still there", name, resource)
	}
	return nil
}

// newPlane starts another API server with nothing installed, for tests that would take
// away what others stand on.
func newPlane(t *testing.T) *suite {
	t.Helper()
	assets, err := assetDir()
	must(t, err)
	const patience = 2 * time.Minute // a loaded two-core machine
	s := &suite{dir: t.TempDir(), plane: &envtest.ControlPlane{
		APIServer: &envtest.APIServer{StartTimeout: patience, StopTimeout: patience},
		Etcd:      &envtest.Etcd{StartTimeout: patience, StopTimeout: patience},
	}}
	must(t, s.plane.Start())
	t.Cleanup(func() { must(t, s.plane.Stop()) })
	must(t, s.connect(filepath.Join(assets, "kubectl")))
	return s
}

// helm runs Helm in Tidelay's namespace.
func (s *suite) helm(ctx context.Context, verb string, args ...string) error {
	path, err := exec.CommandContext(ctx, root+"/hack/program.sh", "helm").Output()
	if err != nil {
		return fmt.Errorf("find helm: %w", err)
	}
	args = append([]string{verb, "--kubeconfig", s.kubectl.kubeconfig, "--namespace", systemNamespace}, args...)
	if verb == "install" {
		args = append(args, "--create-namespace")
	}
	cmd := exec.CommandContext(ctx, strings.TrimSpace(string(path)), args...)
	for _, kind := range []string{"CACHE", "CONFIG", "DATA"} { // none of the user's
		cmd.Env = append(cmd.Environ(), "HELM_"+kind+"_HOME="+filepath.Join(s.dir, "helm"))
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("helm %s: %w\n%s", verb, err, out)
	}
	return nil
}

// removeField takes a field out of the spec in a CRD's file, as if it had not been
// thought of yet.
func removeField(t *testing.T, file, field string) {
	t.Helper()
	content, err := os.ReadFile(file)
	must(t, err)
	crd := map[string]any{}
	must(t, yaml.Unmarshal(content, &crd))
	versions, _, err := unstructured.NestedSlice(crd, "spec", "versions")
	must(t, err)
	path := []string{"schema", "openAPIV3Schema", "properties", "spec", "properties", field}
	for _, version := range versions {
		if _, ok, err := unstructured.NestedMap(version.(map[string]any), path...); err != nil || !ok {
			t.Fatalf("the CRD has no field %s: %v", field, err)
		}
		unstructured.RemoveNestedField(version.(map[string]any), path...)
	}
	must(t, unstructured.SetNestedSlice(crd, versions, "spec", "versions"))
	content, err = yaml.Marshal(crd)
	must(t, err)
	must(t, os.WriteFile(file, content, 0o600))
}
