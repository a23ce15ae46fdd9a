package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

const manifests = "../../manifests"

// objects is what a cluster is given, by kind and name.
type objects map[string]any

// The programs that install: built before, or found, by hack/program.sh.
var (
	helm    = sync.OnceValues(func() (string, error) { return program("helm") })
	kubectl = sync.OnceValues(func() (string, error) { return program("kubectl") })
)

func program(name string) (string, error) {
	command := exec.Command("../../hack/program.sh", name)
	command.Stderr = os.Stderr
	path, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("hack/program.sh %s: %w", name, err)
	}
	return strings.TrimSpace(string(path)), nil
}

// output runs a program and returns what it prints; the error has what it
// complains of.
func output(stdin string, program func() (string, error), args ...string) (string, error) {
	path, err := program()
	if err != nil {
		return "", err
	}
	command := exec.Command(path, args...)
	var complaint bytes.Buffer
	command.Stdin, command.Stderr = strings.NewReader(stdin), &complaint
	printed, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", filepath.Base(path), err, complaint.String())
	}
	return string(printed), nil
}

// kustomize builds what a kustomization of these resources and components
// installs.
func kustomize(t *testing.T, resource string, components ...string) objects {
	t.Helper()
	dir := t.TempDir()
	reach := func(path string) string {
		absolute, err := filepath.Abs(filepath.Join(manifests, path))
		if err != nil {
			t.Fatal(err)
		}
		relative, err := filepath.Rel(dir, absolute)
		if err != nil {
			t.Fatal(err)
		}
		return relative
	}
	lists := map[string][]string{"resources": {reach(resource)}}
	for _, c := range components {
		lists["components"] = append(lists["components"], reach(c))
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
	return output(values, helm, "template", "tidelay", manifests+"/chart", "--namespace", namespace, "--values", "-", "--kube-version", "1.30")
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
		all[key] = essence(t, object)
	}
	return all
}

// essence takes from an object in what the chart and the base may differ:
//   - Helm's own labels;
//   - the arguments, of which the chart also writes those with their defaults:
//     every flag and its value is in their place;
//   - comments in the configuration file: what it says is in its place.
func essence(t *testing.T, object map[string]any) map[string]any {
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

func flagValues(t *testing.T, arguments []any) map[string]any {
	t.Helper()
	var o options
	var args []string
	for _, a := range arguments {
		args = append(args, a.(string))
	}
	flags := o.flags(noEnv)
	if err := flags.Parse(args); err != nil {
		t.Fatalf("arguments %q: %v", args, err)
	}
	values := map[string]any{}
	flags.VisitAll(func(f *pflag.Flag) { values[f.Name] = f.Value.String() })
	return values
}

// clone copies what is changed next.
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
