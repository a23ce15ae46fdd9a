package bench

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// several is how many different pods take turns.
const several = 256

// pace is under the injector's own rate limit of live reads, 200/s, beyond
// which a miss waits for its turn.
const pace = 150

// BenchmarkHandler is the injector's HTTP handler alone: JSON in, JSON out, with
// real caches of 1000 TidbClusters, and no process, network, Events or log.
func BenchmarkHandler(b *testing.B) {
	logf.SetLogger(logr.Discard())
	handler, err := Injector(b.Context(), serve(b, NewFleet(b, 1000)))
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range Cases() {
		b.Run(c.Name, func(b *testing.B) {
			b.ReportAllocs()
			measure(b, c, 0, func(body []byte) (int, []byte) {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, newRequest(b, "https://injector", body))
				return w.Code, w.Body.Bytes()
			})
		})
	}
}

// BenchmarkAdmission is the injector as it is shipped, a process asked over TLS
// on kept connections as the API server does, with 1000 TidbClusters. It shares
// the machine with who asks and with the API server, so its own CPU time per
// admission is told too.
func BenchmarkAdmission(b *testing.B) {
	fleet := NewFleet(b, 1000)
	p := startInjector(b, serve(b, fleet))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: fleet.Trust(), MaxIdleConnsPerHost: 64}}
	b.Cleanup(client.CloseIdleConnections)
	for _, c := range Cases() {
		b.Run(c.Name, func(b *testing.B) {
			rate := 0
			if c.workload == late {
				rate = pace
			}
			before := p.cpu(b)
			measure(b, c, rate, func(body []byte) (int, []byte) {
				response, err := client.Do(newRequest(b, "https://"+p.webhook, body))
				if err != nil {
					return 0, []byte(err.Error())
				}
				defer response.Body.Close()
				answer, _ := io.ReadAll(response.Body)
				return response.StatusCode, answer
			})
			b.ReportMetric(float64((p.cpu(b)-before).Microseconds())/float64(b.N), "cpu-us/op")
		})
	}
}

// measure has GOMAXPROCS workers ask, and reports how many answers came in a
// second and how long each took. With a rate they ask no more than that.
func measure(b *testing.B, c Case, rate int, ask func(body []byte) (int, []byte)) {
	reviews, err := c.Reviews(several)
	if err != nil {
		b.Fatal(err)
	}
	want := []byte(`"` + c.Reason + `"`)
	var (
		mu      sync.Mutex
		samples []time.Duration
		turn    atomic.Int64
	)
	for _, review := range reviews[:8] { // the first open connections
		ask(review)
	}
	b.ResetTimer()
	began := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		var own []time.Duration
		for pb.Next() {
			n := turn.Add(1)
			if rate > 0 {
				<-time.After(time.Until(began.Add(time.Duration(n) * time.Second / time.Duration(rate))))
			}
			review := Numbered(reviews[n%several], n)
			start := time.Now()
			status, answer := ask(review)
			own = append(own, time.Since(start))
			if status != http.StatusOK || !bytes.Contains(answer, want) {
				b.Errorf("answer %d %s, want %s", status, answer, want)
				return
			}
		}
		mu.Lock()
		defer mu.Unlock()
		samples = append(samples, own...)
	})
	took := b.Elapsed()
	slices.Sort(samples)
	b.ReportMetric(float64(len(samples))/took.Seconds(), "admissions/s")
	b.ReportMetric(float64(samples[len(samples)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(samples[len(samples)*99/100].Microseconds())/1000, "p99-ms")
}

func newRequest(b *testing.B, url string, body []byte) *http.Request {
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url+"/inject?timeout=3s", bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	return r
}

// serve serves fleet and returns its URL.
func serve(b *testing.B, fleet *Fleet) string {
	server := httptest.NewServer(fleet.Handler())
	b.Cleanup(func() {
		server.CloseClientConnections() // watches never end by themselves
		server.Close()
	})
	return server.URL
}

// BenchmarkMemory is what the injector takes, with the memory limit of the
// shipped Deployment, of a cluster with that many TidbClusters, half of them
// opted in: at its highest while the caches fill, and then when it has been
// left alone for two minutes, after which the garbage collector has run. "all"
// is the worst there is, ten StatefulSets and ten ReplicaSets of the operator's
// for each TidbCluster.
func BenchmarkMemory(b *testing.B) {
	for _, row := range []struct {
		name     string
		clusters int
		all      bool
	}{
		{"0", 0, false}, {"1000", 1000, false}, {"10000", 10000, false}, {"10000-all", 10000, true},
	} {
		b.Run(row.name, func(b *testing.B) {
			fleet := NewFleet(b, row.clusters)
			if row.all {
				fleet.StatefulSets, fleet.ReplicaSets = 10, 10
			}
			for b.Loop() {
				p := startInjector(b, serve(b, fleet))
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(p.ready.Seconds(), "ready-s")
				p.waitCollected(b)
				b.ReportMetric(p.memory(b, "VmRSS"), "rss-MB")
				b.ReportMetric(p.memory(b, "VmHWM"), "peak-MB")
				b.ReportMetric(p.metric(b, "go_memstats_heap_alloc_bytes")/1e6, "heap-MB")
				p.stop()
			}
		})
	}
}
