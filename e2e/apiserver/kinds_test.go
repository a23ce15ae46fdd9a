//go:build apiserver

package apiserver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A new controller that meets the definitions or the rights of an older one says what is
// missing, and does not lead until it is there.
func TestAControllerWithoutItsKinds(t *testing.T) {
	s, ctx := newPlane(t), t.Context()
	s.binaries, s.kubeconfigs = world.binaries, map[string]string{}
	apply := func() { must(t, s.kubectl.run(ctx, "apply", "-k", manifests)) }
	apply()
	crds, err := operatorCRDs(ctx)
	must(t, err)
	must(t, s.kubectl.run(ctx, "create", "-f", crds))
	s.kubeconfigs[controllerName], err = s.serviceAccountKubeconfig(ctx, controllerName, s.config.Host, s.config.CAData)
	must(t, err)

	lease := &coordinationv1.Lease{}
	lease.Namespace, lease.Name = systemNamespace, controllerName
	leads := func() error { return s.client.Get(ctx, client.ObjectKeyFromObject(lease), lease) }
	for name, test := range map[string]struct{ missing, words string }{
		"a definition": {"crd/networktopologies.tidelay.io", `no matches for kind "NetworkTopology"`},
		"rights":       {"clusterrolebinding/" + controllerName, "nodes is forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, s.kubectl.run(ctx, "delete", test.missing))
			p, err := s.startProcess(ctx, controllerName, "--missed-check=1s")
			must(t, err)
			t.Cleanup(p.kill)
			must(t, p.until(ctx, func() error {
				_, err := get(ctx, "http://"+p.health+"/readyz")
				if err == nil || !strings.Contains(err.Error(), "not ready: kinds: ") || !strings.Contains(err.Error(), test.words) {
					return fmt.Errorf("readyz does not say what is missing: %w", err)
				}
				return nil
			}))
			if err := leads(); !apierrors.IsNotFound(err) {
				t.Errorf("the controller leads: %v, %v", lease.Spec, err)
			}
			apply()
			must(t, p.waitReady(ctx))
			eventually(t, 30*time.Second, leads)
			p.kill()
			must(t, s.client.Delete(ctx, lease))
		})
	}
}
