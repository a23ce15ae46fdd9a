package peer

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/tidelay/tidelay/e2e/bench"
)

// contender is one of the injectors, and what it took for each pod.
type contender struct {
	handler http.Handler
	// container is what its patch must add.
	container string
	took      []time.Duration
	allocated uint64
	patch     int
}

// BenchmarkBeside feeds the same pod to both injectors' HTTP handlers in turns,
// JSON in and JSON out, and tells the ratio of the other's time to ours. What
// they do for it differs: we walk the owners to the TidbCluster and add one
// container; Istio asks nobody about owners, renders a template of two
// containers, merges it and compares pods.
func BenchmarkBeside(b *testing.B) {
	ours, theirs := contenders(b)
	body, err := bench.Cases()[0].Review(0)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []*contender{ours, theirs} {
		c.ask(b, body)
		c.took, c.allocated = nil, 0
	}
	for b.Loop() {
		ours.ask(b, body)
		theirs.ask(b, body)
	}
	b.ReportMetric(0, "ns/op") // of both together, which says nothing
	ourP50, ourP99 := ours.quantiles()
	theirP50, theirP99 := theirs.quantiles()
	b.ReportMetric(ourP50, "ours-p50-us")
	b.ReportMetric(ourP99, "ours-p99-us")
	b.ReportMetric(theirP50, "istio-p50-us")
	b.ReportMetric(theirP99, "istio-p99-us")
	b.ReportMetric(theirP50/ourP50, "p50-ratio")
	b.ReportMetric(theirP99/ourP99, "p99-ratio")
	b.ReportMetric(float64(theirs.allocated)/float64(ours.allocated), "bytes-ratio")
	b.ReportMetric(float64(theirs.patch)/float64(ours.patch), "patch-ratio")
}

func contenders(b *testing.B) (ours, theirs *contender) {
	b.Helper()
	logf.SetLogger(logr.Discard())
	server := httptest.NewServer(bench.NewFleet(b, 100).Handler())
	b.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	own, err := bench.Injector(b.Context(), server.URL)
	if err != nil {
		b.Fatal(err)
	}
	other, err := istio()
	if err != nil {
		b.Fatal(err)
	}
	return &contender{handler: own, container: "tidelay-agent"}, &contender{handler: other, container: "istio-proxy"}
}

// ask has c answer once, and holds it to having injected its container.
func (c *contender) ask(b *testing.B, body []byte) {
	request := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/inject?timeout=3s", bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	before := allocated()
	start := time.Now()
	c.handler.ServeHTTP(w, request)
	c.took = append(c.took, time.Since(start))
	c.allocated += allocated() - before

	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &review); err != nil || review.Response == nil {
		b.Fatalf("answer %d %s: %v", w.Code, w.Body, err)
	}
	if !review.Response.Allowed || !strings.Contains(string(review.Response.Patch), `"`+c.container+`"`) {
		b.Fatalf("allowed %t, patch %s: want it with %s", review.Response.Allowed, review.Response.Patch, c.container)
	}
	c.patch = len(review.Response.Patch)
}

func allocated() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
}

func (c *contender) quantiles() (p50, p99 float64) {
	slices.Sort(c.took)
	at := func(percent int) float64 { return float64(c.took[len(c.took)*percent/100].Nanoseconds()) / 1000 }
	return at(50), at(99)
}
