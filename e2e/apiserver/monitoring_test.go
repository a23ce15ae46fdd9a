//go:build apiserver

package apiserver

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// Every metric of the injector that the shipped rules and dashboard name is
// one it has. Those of the agent are looked for where the agent is tested.
func TestMonitoringNamesRealMetrics(t *testing.T) {
	checker := newChecker(t)
	lend(t, checker)
	n := newNamespace(t)
	n.admit(n.tikv(nil)) // a TidbCluster that is not opted in is read live
	n.cluster("other", optedIn())
	n.hasCondition("other", "Unknown no_pods")
	has, err := get(t.Context(), "http://"+checker.metrics+"/metrics")
	must(t, err)
	var named []string
	for _, file := range []string{"rules.yaml", "dashboard.json"} {
		content, err := os.ReadFile(filepath.Join(manifests, "monitoring", file))
		must(t, err)
		var object map[string]any
		must(t, yaml.UnmarshalStrict(content, &object))
		named = append(named, regexp.MustCompile(`tidelay_[a-z_]+`).FindAllString(string(content), -1)...)
	}
	slices.Sort(named)
	injectors := 0
	for _, name := range slices.Compact(named) {
		if strings.HasPrefix(name, "tidelay_agent_") || strings.HasPrefix(name, "tidelay_fault_") {
			continue
		}
		injectors++
		if !regexp.MustCompile(`(?m)^` + name + `[{ ]`).MatchString(has) {
			t.Errorf("the injector has no metric %s", name)
		}
	}
	if injectors < 5 {
		t.Errorf("only %d metrics of the injector are named", injectors)
	}
}
