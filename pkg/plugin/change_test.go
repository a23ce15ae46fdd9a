package plugin_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	agentclient "github.com/tidelay/tidelay/pkg/agent/client"
)

// obeyAnswer has the agent of a pod answer every request in one way.
func (w *world) obeyAnswer(t *testing.T, d *datadriven.TestData) {
	t.Helper()
	var pod string
	answer := agentAnswer{status: http.StatusOK, body: d.Input}
	d.ScanArgs(t, "pod", &pod)
	d.MaybeScanArgs(t, "status", &answer.status)
	w.answers[pod] = answer
}

// obeyPut puts an object on the API server.
func (w *world) obeyPut(t *testing.T, d *datadriven.TestData) {
	t.Helper()
	var o unstructured.Unstructured
	if err := yaml.Unmarshal([]byte(d.Input), &o.Object); err != nil {
		d.Fatalf(t, "parse: %v", err)
	}
	if err := w.Create(t.Context(), &o); err != nil {
		d.Fatalf(t, "create: %v", err)
	}
}

// obeyDelete deletes an object.
func (w *world) obeyDelete(t *testing.T, d *datadriven.TestData) {
	t.Helper()
	if err := w.Delete(t.Context(), w.named(t, d)); err != nil {
		d.Fatalf(t, "delete: %v", err)
	}
}

// obeyPatch changes an object, or its "status", by a merge patch, which is strategic for
// Kubernetes' own kinds.
func (w *world) obeyPatch(t *testing.T, d *datadriven.TestData) {
	t.Helper()
	content, err := yaml.YAMLToJSON([]byte(d.Input))
	if err != nil {
		d.Fatalf(t, "parse: %v", err)
	}
	o, kind := w.named(t, d), types.StrategicMergePatchType
	if strings.Contains(o.GroupVersionKind().Group, ".") {
		kind = types.MergePatchType
	}
	if d.HasArg("status") {
		err = w.Status().Patch(t.Context(), o, client.RawPatch(kind, content))
	} else {
		err = w.Patch(t.Context(), o, client.RawPatch(kind, content))
	}
	if err != nil {
		d.Fatalf(t, "patch: %v", err)
	}
}

// named returns the object that a command is about, without its content.
func (w *world) named(t *testing.T, d *datadriven.TestData) *unstructured.Unstructured {
	t.Helper()
	var kind, name string
	d.ScanArgs(t, "kind", &kind)
	d.ScanArgs(t, "name", &name)
	o := &unstructured.Unstructured{}
	for known := range w.Scheme().AllKnownTypes() {
		if known.Kind == kind && (known.Version == "v1" || known.Version == "v1alpha1") {
			o.SetGroupVersionKind(known)
		}
	}
	o.SetName(name)
	if kind != "Namespace" {
		o.SetNamespace("db")
	}
	return o
}

// agentAnswer is how an agent, or the API server in its place, answers every request.
type agentAnswer struct {
	status int
	body   string
}

// Of returns a client of the agent in a pod.
func (w *world) Of(_ context.Context, pod *corev1.Pod) (*agentclient.Client, error) {
	answer, is := w.answers[pod.Name]
	if !is {
		answer = agentAnswer{http.StatusServiceUnavailable, "error trying to reach service: dial tcp: connection refused"}
	}
	return agentclient.New("http://agent", agentclient.Options{PodUID: string(pod.UID), Transport: answer})
}

// RoundTrip gives the answer.
func (a agentAnswer) RoundTrip(r *http.Request) (*http.Response, error) {
	kind := "application/json"
	if a.status != http.StatusOK && strings.Contains(a.body, `"type"`) {
		kind = "application/problem+json"
	}
	return &http.Response{
		Status: fmt.Sprint(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {kind}, "Server": {"tidelay-agent"}}, Body: io.NopCloser(strings.NewReader(a.body)),
	}, nil
}
