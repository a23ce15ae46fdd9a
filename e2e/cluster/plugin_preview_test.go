//go:build e2e

package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/pkg/injection"
)

// preview previews the workloads that are named, and their TidbCluster, and compares the pods
// that it makes of them with those that run. It prints what is said on standard error. The
// plugin can reach no cluster.
func (s script) preview(ctx context.Context, t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	workloads, err := s.kubectl(ctx, "", append([]string{"get", "-o", "json", "TidbCluster/" + s.cluster}, strings.Fields(d.Input)...)...)
	if err != nil {
		d.Fatalf(t, "%v\n%s", err, workloads)
	}
	command := user{os.DevNull}.command(ctx, s.namespace, "tidelay", "preview", "-f", "-", "--config", "../../manifests/config.yaml", "--image", agentImage)
	var out, words bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(workloads), &out, &words
	if err := command.Run(); err != nil {
		d.Fatalf(t, "%v\n%s", err, words.String())
	}
	var made struct {
		Items []struct {
			Kind string
			Spec struct{ Template corev1.PodTemplateSpec }
		}
	}
	if err := yaml.Unmarshal(out.Bytes(), &made); err != nil {
		d.Fatalf(t, "%v\n%s", err, out.String())
	}
	text := words.String()
	for _, workload := range made.Items {
		template := workload.Spec.Template
		component := template.Labels["app.kubernetes.io/component"]
		if component == "" {
			continue // the TidbCluster
		}
		previewed := additionsOf(t, corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec})
		diff := cmp.Diff(previewed, additionsOf(t, s.anyPod(ctx, t, component)))
		if diff != "" {
			t.Errorf("%s: preview and the running pod differ (-preview +running):\n%s", component, diff)
		}
		text += fmt.Sprintf("%s: %d container, %d volumes; running pods are the same: %t\n", component, len(previewed.Containers), len(previewed.Volumes), diff == "")
	}
	return s.normal(text)
}

// anyPod returns one of the pods of a component.
func (s script) anyPod(ctx context.Context, t *testing.T, component string) corev1.Pod {
	t.Helper()
	pods := s.pods(ctx, t, s.cluster, component)
	if len(pods) == 0 {
		t.Fatalf("TidbCluster %s has no pods of %s", s.cluster, component)
	}
	return pods[0]
}

// additions are what the injector adds to a pod.
type additions struct {
	Containers []corev1.Container
	Volumes    []corev1.Volume
	Status     injection.Status
	Default    string // container
}

// additionsOf returns what the injector added to a pod, but for what is the API server's or of
// another build: its default of a field that the injector leaves out, and a version.
func additionsOf(t *testing.T, pod corev1.Pod) additions {
	t.Helper()
	a := additions{Default: pod.Annotations[injection.DefaultContainerAnnotation]}
	for _, c := range pod.Spec.Containers {
		if c.Name == agentName {
			c.TerminationMessagePath = ""
			a.Containers = append(a.Containers, c)
		}
	}
	for _, v := range pod.Spec.Volumes {
		if strings.HasPrefix(v.Name, "tidelay-") {
			a.Volumes = append(a.Volumes, v)
		}
	}
	if err := json.Unmarshal([]byte(pod.Annotations[injection.StatusAnnotation]), &a.Status); err != nil {
		t.Errorf("annotation %s: %v", injection.StatusAnnotation, err)
	}
	a.Status.Version = ""
	return a
}
