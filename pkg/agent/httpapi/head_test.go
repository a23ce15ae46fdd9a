package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
)

// HEAD answers as GET does, without a body, and changes nothing.
func TestHead(t *testing.T) {
	e := &enginetest.Engine{}
	s := newTestServer(t, e)
	for path, want := range map[string]int{
		api.PathHealthz: 200, api.PathReadyz: 200, api.PathMetrics: 200, api.PathOpenAPI: 200, api.PathStatus: 200,
		api.PathLatency: 200, api.PathFaults: 200, api.PathFaults + "/none": 404,
		"/latency/20ms": 200, "/latency/0": 200, "/latency/abc": 400, "/latency/": 400, "/nowhere": 404,
	} {
		head := s.do(http.MethodHead, path, "")
		if server := head.Header.Get("Server"); server != api.ServerName {
			t.Errorf("HEAD %s: an answer of %q, want %q", path, server, api.ServerName)
		}
		if head.StatusCode != want || text(t, head) != "" {
			t.Errorf("HEAD %s: status %d, want %d without a body", path, head.StatusCode, want)
		}
		if e.Get().Applied != 0 {
			t.Fatalf("HEAD %s changed the kernel", path)
		}
	}
	if head := s.do(http.MethodHead, "/latency/20ms?verify=true&peer=10.0.0.1", ""); head.StatusCode != http.StatusBadRequest {
		t.Errorf("HEAD with verify: status %d", head.StatusCode)
	}
	if head := s.do(http.MethodHead, api.PathMeasure, ""); head.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("HEAD of a route without GET: status %d", head.StatusCode)
	}
}
