package manifests

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shippedObjects is what `kubectl apply -k manifests` installs, without the
// namespace, which Helm makes by itself.
func shippedObjects(t *testing.T, components ...string) objects {
	t.Helper()
	all := kustomize(t, ".", components...)
	delete(all, "Namespace tidelay-system")
	return all
}

// TestChartIsTheBase compares the chart with the kustomizations, object by object.
// Function normalize says what may differ.
func TestChartIsTheBase(t *testing.T) {
	base := shippedObjects(t)
	if len(base) < 20 {
		t.Fatalf("kustomize built %d objects", len(base))
	}
	byDefault := chart(t, "tidelay-system", "")
	compare(t, base, byDefault)
	single := `
replicas: 1
podDisruptionBudget: {enabled: false}
controller: {replicas: 1}`
	compare(t, shippedObjects(t, "overlays/single"), chart(t, "tidelay-system", single))
	compare(t, shippedObjects(t, "overlays/host-network"), chart(t, "tidelay-system", `
hostNetwork: true
ports: {webhook: 19443, health: 19444, metrics: 19445}`))

	monitored := chart(t, "tidelay-system", `monitoring: {podMonitors: true, rules: true, dashboard: true}`)
	maps.DeleteFunc(monitored, func(key string, _ any) bool { return byDefault[key] != nil })
	compare(t, kustomize(t, "monitoring"), monitored)

	text, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	var elsewhere objects
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), "tidelay-system", "elsewhere")), &elsewhere); err != nil {
		t.Fatal(err)
	}
	compare(t, elsewhere, chart(t, "elsewhere", ""))
}

// TestWithoutTheController takes out every object of the controller, of the base
// and of what monitors it, and nothing else. The kinds that it serves and the roles for
// these kinds are the controller's too.
func TestWithoutTheController(t *testing.T) {
	const off = "controller: {enabled: false}\n"
	served := []string{"CustomResourceDefinition networkfaults.tidelay.io", "CustomResourceDefinition networktopologies.tidelay.io", "ClusterRole tidelay-viewer", "ClusterRole tidelay-operator"}
	want := shippedObjects(t)
	removed := 0
	maps.DeleteFunc(want, func(key string, _ any) bool {
		controllers := strings.HasSuffix(key, " tidelay-controller") || slices.Contains(served, key)
		if controllers {
			removed++
		}
		return controllers
	})
	if removed != 14 {
		t.Errorf("the base has %d objects of the controller, want 14", removed)
	}
	compare(t, want, shippedObjects(t, "overlays/no-controller"))
	withoutController := chart(t, "tidelay-system", off)
	compare(t, want, withoutController)
	if text, err := json.Marshal(want); err != nil || strings.Contains(string(text), "tidelay-controller") {
		t.Errorf("something without the controller names it (%v)", err)
	}

	// With overlays/single, in either order.
	one := chart(t, "tidelay-system", off+"replicas: 1\npodDisruptionBudget: {enabled: false}")
	compare(t, shippedObjects(t, "overlays/single", "overlays/no-controller"), one)
	compare(t, shippedObjects(t, "overlays/no-controller", "overlays/single"), one)

	monitored := chart(t, "tidelay-system", off+`monitoring: {podMonitors: true, rules: true, dashboard: true}`)
	maps.DeleteFunc(monitored, func(key string, _ any) bool { return withoutController[key] != nil })
	unmonitored := kustomize(t, "monitoring", "overlays/no-controller")
	compare(t, unmonitored, monitored)
	if all := kustomize(t, "monitoring"); len(all) != len(unmonitored)+2 {
		t.Errorf("%d objects for monitoring and %d without the controller, want 2 fewer", len(all), len(unmonitored))
	}
}

// compare is an error for every object that is not as it should be.
func compare(t *testing.T, want, got objects) {
	t.Helper()
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("objects (-want +chart):\n%s", diff)
	}
	for key, object := range want {
		if diff := cmp.Diff(object, got[key]); diff != "" && got[key] != nil {
			t.Errorf("%s (-want +chart):\n%s", key, diff)
		}
	}
}
