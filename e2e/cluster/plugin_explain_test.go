//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/e2e-framework/klient/k8s/resources"

	"github.com/tidelay/tidelay/pkg/plugin/explain"
)

// Pods that get no agent, and why: of a TidbCluster that asks for none, and of no TidbCluster.
func TestPluginExplainsWhyNot(t *testing.T) {
	theClaims.sideBySide(t, needs(theInjector), needs(plain))
	s := newScript(t, theWorld, plain)
	var pods corev1.PodList
	if err := theWorld.List(t.Context(), &pods, resources.WithLabelSelector("app=deployment")); err != nil || len(pods.Items) != 1 {
		t.Fatalf("%d pods of Deployment %s: %v", len(pods.Items), bystander, err)
	}
	s.variables["BYSTANDER"] = pods.Items[0].Name
	s.follow(t.Context(), t, "testdata/plugin/elsewhere/why-not.txt")
}

// uids compares what explain says with what the API server has: the pod, and each owner of it.
func (s script) uids(ctx context.Context, t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	pod := d.CmdArgs[0].Key
	if pod == "discovery" {
		pod = s.pod(ctx, t, s.cluster, pod).Name
	}
	var e explain.Explanation
	if err := s.json(ctx, &e, "explain", pod, "-o", "json"); err != nil {
		d.Fatalf(t, "%v", err)
	}
	var text strings.Builder
	line := func(kind schema.GroupVersionKind, name, uid, found string) {
		resource := fmt.Sprintf("%s.%s.%s/%s", kind.Kind, kind.Version, kind.Group, name)
		actual, err := s.kubectl(ctx, "", "get", resource, "-o", "jsonpath={.metadata.uid}")
		same := "has the UID of the API server"
		if err != nil || uid != actual || found != actual {
			same = fmt.Sprintf("has the UIDs %s and %s, and at the API server %s (%v)", uid, found, actual, err)
		}
		fmt.Fprintf(&text, "%s %s %s\n", kind.Kind, name, same)
	}
	line(corev1.SchemeGroupVersion.WithKind("Pod"), e.Pod, string(e.UID), string(e.UID))
	for _, o := range e.Owners {
		line(schema.FromAPIVersionAndKind(o.APIVersion, o.Kind), o.Name, string(o.UID), string(o.FoundUID))
	}
	if e.Agent == nil || e.Agent.Status == nil {
		return s.normal(text.String() + "no answer of an agent\n")
	}
	for _, f := range e.Agent.Status.Faults {
		fmt.Fprintf(&text, "fault %s: in the kernel %t, packets counted %t\n", f.Name, f.Held, f.Counters.Packets > 0)
	}
	return s.normal(text.String())
}
