//go:build kernel

package kernel

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Every metric of the agent that the shipped rules and dashboard name is one it
// has.
func TestMonitoringNamesRealMetrics(t *testing.T) {
	netlab.EngineIndependent(t)
	a := startAgent(t)
	a.apply(api.Fault{Name: "some", Delay: "1ms", Duration: "10m"})
	status, has, err := a.request(api.PathMetrics)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d, %v", api.PathMetrics, status, err)
	}
	var named []string
	for _, file := range []string{"rules.yaml", "dashboard.json"} {
		content, err := os.ReadFile("../../manifests/monitoring/" + file)
		if err != nil {
			t.Fatal(err)
		}
		named = append(named, regexp.MustCompile(`tidelay_(agent|fault)_[a-z_]+`).FindAllString(string(content), -1)...)
	}
	slices.Sort(named)
	named = slices.Compact(named)
	if len(named) < 8 {
		t.Errorf("only %q are named", named)
	}
	for _, name := range named {
		if !regexp.MustCompile(`(?m)^` + name + `[{ ]`).Match(has) {
			t.Errorf("the agent has no metric %s", name)
		}
	}
}
