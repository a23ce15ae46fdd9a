//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
)

// agent returns a client of a pod's agent. Its requests start in the pod
// pinger, as those of an application would. When the test fails it shows what
// the agent logged.
func (w *world) agent(ctx context.Context, t *testing.T, pod corev1.Pod) *client.Client {
	t.Helper()
	c, err := w.agentOf(pod)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(w.describeAgent(context.WithoutCancel(ctx), pod))
		}
	})
	return c
}

func (w *world) agentOf(pod corev1.Pod) (*client.Client, error) {
	return client.New(client.URL(pod.Status.PodIP), client.Options{Transport: pingerTransport{w}})
}

// pingerTransport sends HTTP requests from the pod pinger.
type pingerTransport struct{ *world }

// RoundTrip implements http.RoundTripper.
func (p pingerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	args := []string{"http", r.Method, r.URL.String()}
	if r.Body != nil {
		content, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("read body: %w", err)
		}
		args = append(args, string(content))
	}
	var result struct {
		Status int         `json:"status"`
		Header http.Header `json:"header"`
		Body   string      `json:"body"`
	}
	if err := p.runPinger(r.Context(), pinger, &result, args...); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: result.Status, Header: result.Header, Body: io.NopCloser(strings.NewReader(result.Body)), Request: r}, nil
}

// setLatency sets the fault named latency of a pod.
func (w *world) setLatency(ctx context.Context, t *testing.T, pod corev1.Pod, delay string) api.Latency {
	t.Helper()
	answer, err := w.agent(ctx, t, pod).SetLatency(ctx, client.Delay{Delay: delay})
	if err != nil {
		t.Fatalf("pod %s: %v", pod.Name, err)
	}
	return answer.Body
}

// clearLatency removes the fault named latency of a pod.
func (w *world) clearLatency(ctx context.Context, t *testing.T, pod corev1.Pod) {
	t.Helper()
	if _, err := w.agent(ctx, t, pod).ClearLatency(ctx); err != nil {
		t.Fatalf("pod %s: %v", pod.Name, err)
	}
}
