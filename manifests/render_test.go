// Package manifests tests that the kustomizations and the Helm chart install the
// same.
package manifests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/yaml"
)

// objects are what is installed, by kind and name.
type objects map[string]any

// The programs that install. hack/program.sh finds them, or builds them.
var (
	helm    = sync.OnceValues(func() (string, error) { return program("helm") })
	kubectl = sync.OnceValues(func() (string, error) { return program("kubectl") })
)

func program(name string) (string, error) {
	command := exec.Command("../hack/program.sh", name)
	command.Stderr = os.Stderr
	path, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("hack/program.sh %s: %w", name, err)
	}
	return strings.TrimSpace(string(path)), nil
}

// output runs a program and returns its output. A program that prints anything on
// stderr has failed: whoever installs Tidelay would have to read it.
func output(stdin string, program func() (string, error), args ...string) (string, error) {
	path, err := program()
	if err != nil {
		return "", err
	}
	command := exec.Command(path, args...)
	var stderr bytes.Buffer
	command.Stdin, command.Stderr = strings.NewReader(stdin), &stderr
	printed, err := command.Output()
	if err == nil && stderr.Len() > 0 {
		err = errors.New("printed on stderr")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", filepath.Base(path), err, stderr.String())
	}
	return string(printed), nil
}

// kustomize builds a kustomization of a resource and components.
func kustomize(t *testing.T, resource string, components ...string) objects {
	t.Helper()
	dir := t.TempDir()
	relativePath := func(path string) string {
		absolute, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		relative, err := filepath.Rel(dir, absolute)
		if err != nil {
			t.Fatal(err)
		}
		return relative
	}
	lists := map[string][]string{"resources": {relativePath(resource)}}
	for _, c := range components {
		lists["components"] = append(lists["components"], relativePath(c))
	}
	content, err := yaml.Marshal(lists)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	printed, err := output("", kubectl, "kustomize", dir)
	if err != nil {
		t.Fatal(err)
	}
	return parseObjects(t, printed)
}

// chart renders the Helm chart.
func chart(t *testing.T, namespace, values string) objects {
	t.Helper()
	printed, err := renderChart(namespace, values)
	if err != nil {
		t.Fatal(err)
	}
	return parseObjects(t, printed)
}

func renderChart(namespace, values string) (string, error) {
	return output(values, helm, "template", "tidelay", "chart", "--namespace", namespace, "--values", "-", "--kube-version", "1.30")
}

func parseObjects(t *testing.T, text string) objects {
	t.Helper()
	all := objects{}
	for document := range strings.SplitSeq("\n"+text, "\n---\n") {
		var object map[string]any
		if err := yaml.UnmarshalStrict([]byte(document), &object); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		if object == nil {
			continue
		}
		key := fmt.Sprintf("%s %s", object["kind"], object["metadata"].(map[string]any)["name"])
		if all[key] != nil {
			t.Fatalf("%s is there twice", key)
		}
		all[key] = normalize(t, object)
	}
	return all
}

// normalize removes from an object what may differ between the chart and the base:
//   - Helm's own labels;
//   - the order of a container's arguments: they become a map from flag to value;
//   - comments in the configuration file: its text becomes what it says.
func normalize(t *testing.T, object map[string]any) map[string]any {
	t.Helper()
	labels := object["metadata"].(map[string]any)["labels"].(map[string]any)
	delete(labels, "helm.sh/chart")
	if labels["app.kubernetes.io/managed-by"] == "Helm" {
		delete(labels, "app.kubernetes.io/managed-by")
	}
	switch object["kind"] {
	case "Deployment":
		pod := object["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
		container := pod["containers"].([]any)[0].(map[string]any)
		container["args"] = flagValues(t, container["args"].([]any))
	case "ConfigMap":
		data := object["data"].(map[string]any)
		for name, content := range data {
			var parsed any
			if err := yaml.UnmarshalStrict([]byte(content.(string)), &parsed); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			data[name] = parsed
		}
	}
	return object
}

// flagValues returns the values of arguments such as --drain=10s, each given once.
func flagValues(t *testing.T, arguments []any) map[string]any {
	t.Helper()
	values := map[string]any{}
	for _, argument := range arguments {
		name, value, ok := strings.Cut(strings.TrimPrefix(argument.(string), "--"), "=")
		if _, twice := values[name]; !ok || twice {
			t.Fatalf("arguments %q: %q has no value, or is there twice", arguments, argument)
		}
		values[name] = value
	}
	return values
}

// clone returns a deep copy.
func (o objects) clone(t *testing.T) objects {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var copied objects
	if err := json.Unmarshal(text, &copied); err != nil {
		t.Fatal(err)
	}
	return copied
}
