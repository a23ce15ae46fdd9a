//go:build apiserver

package apiserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The API server takes each overlay and the chart as they are, every field of
// them; nothing of it is kept. What the chart has for Prometheus Operator is
// left out: there are no such kinds here.
func TestOtherInstallationsAreValid(t *testing.T) {
	base, err := filepath.Abs(manifests)
	must(t, err)
	for _, overlay := range []string{"single", "host-network", "no-controller"} {
		dir := t.TempDir()
		relative, err := filepath.Rel(dir, base)
		must(t, err)
		text := fmt.Sprintf("resources: [%s]\ncomponents: [%s/overlays/%s]\n", relative, relative, overlay)
		must(t, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600))
		must(t, world.kubectl.run(t.Context(), "apply", "--dry-run=server", "--validate=strict", "-k", dir))
	}

	helm, err := exec.CommandContext(t.Context(), root+"/hack/program.sh", "helm").Output()
	must(t, err)
	rendered, err := exec.CommandContext(t.Context(), strings.TrimSpace(string(helm)), "template", "tidelay", base+"/chart",
		"--namespace", systemNamespace, "--kube-version", "1.30", "--set", "hostNetwork=true,monitoring.dashboard=true,imagePullSecrets={one}",
		"--set", "config.agent.tokenSecret=token,tolerations[0].operator=Exists,nodeSelector.disk=ssd").Output()
	must(t, err)
	file := filepath.Join(t.TempDir(), "chart.yaml")
	must(t, os.WriteFile(file, rendered, 0o600))
	must(t, world.kubectl.run(t.Context(), "apply", "--dry-run=server", "--validate=strict", "-f", file))
}
