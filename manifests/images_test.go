package manifests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAgentImageIsNamedOnce names another image of the agent in kustomization.yaml,
// as users do. In every variant it becomes the image that is injected, and the one
// that the injector's pod runs first.
func TestAgentImageIsNamedOnce(t *testing.T) {
	const name, digest = "registry.example.com/a", "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "kustomization.yaml")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(content), "name: tidelay/agent\n    newTag: dev")
	if !ok {
		t.Fatal("kustomization.yaml does not name the agent's image as this test expects")
	}
	edited := before + "name: tidelay/agent\n    newName: " + name + "\n    digest: " + digest + after
	if err := os.WriteFile(path, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, variant := range [][]string{nil, {"single"}, {"host-network"}, {"single", "host-network", "no-controller"}} {
		var components []string
		for _, c := range variant {
			components = append(components, filepath.Join(folder, "overlays", c))
		}
		all := kustomize(t, folder, components...)
		// For the injector as the init container's image and as AGENT_IMAGE.
		for key, want := range map[string]int{"Deployment tidelay-injector": 2, "Deployment tidelay-controller": 1} {
			text, err := json.Marshal(all[key])
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(string(text), `"`+name+"@"+digest+`"`); all[key] != nil && got != want || strings.Contains(string(text), `"tidelay/agent`) {
				t.Errorf("with %q: %s has the image %d times, want %d and no other:\n%s", variant, key, got, want, text)
			}
		}
	}
}
