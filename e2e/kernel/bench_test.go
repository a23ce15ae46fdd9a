//go:build kernel

package kernel

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// The benchmarks of `make bench-agent`. Each sub-benchmark is one row of the
// report; what is compared is measured in one run, in turns.

// quantiles reports the median and the 99th percentile of samples.
func quantiles(b *testing.B, name string, samples []time.Duration) (p50, p99 time.Duration) {
	b.Helper()
	sorted := slices.Sorted(slices.Values(samples))
	p50, p99 = sorted[len(sorted)/2], sorted[min(len(sorted)*99/100, len(sorted)-1)]
	b.ReportMetric(milliseconds(p50), name+"-p50-ms")
	b.ReportMetric(milliseconds(p99), name+"-p99-ms")
	return p50, p99
}

func milliseconds(d time.Duration) float64 { return float64(d) / 1e6 }

// BenchmarkSet takes the time from a request on the socket to the answer, which
// is sent when the kernel was read back, and beside it that of exec'ing tc to
// set and to show. Where the kernel has no netem, tc sets a tbf.
func BenchmarkSet(b *testing.B) {
	rounds := 200
	if machine.SlowStart {
		rounds = 50
	}
	a := freshAgent(b)
	client := &http.Client{Transport: &http.Transport{DialContext: a.lab.node.Dial}}
	defer client.CloseIdleConnections()
	qdisc := "netem delay %dms"
	if engineName == "nfqueue" {
		qdisc = "tbf rate %dgbit burst 100k latency 50ms"
	}
	a.lab.bystander.Exec(b, "ip link add tc0 type veth peer name tc1")
	defer a.lab.bystander.Exec(b, "ip link del tc0")

	var ours, theirs []time.Duration
	for b.Loop() {
		for i := range rounds {
			start := time.Now()
			get(b, client, fmt.Sprintf("http://%s:%d%s/%dms", a.lab.pod.IP, api.Port, api.PathLatency, 20+i%2))
			ours = append(ours, time.Since(start))
			theirs = append(theirs, timeTC(b, a.lab.bystander, fmt.Sprintf(qdisc, 20+i%2)))
		}
	}
	p50, p99 := quantiles(b, "request", ours)
	tc50, tc99 := quantiles(b, "tc", theirs)
	b.ReportMetric(float64(tc50)/float64(p50), "ratio-p50")
	b.ReportMetric(float64(tc99)/float64(p99), "ratio-p99")
}

func get(b *testing.B, client *http.Client, url string) {
	b.Helper()
	request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
	if err != nil {
		b.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK {
		b.Fatalf("%s: status %d, %v: %s", url, response.StatusCode, err, body)
	}
}

// timeTC sets a qdisc by exec'ing tc and shows it by exec'ing it again, from a
// thread that is in the namespace already.
func timeTC(b *testing.B, h *netlab.Host, qdisc string) time.Duration {
	b.Helper()
	var took time.Duration
	err := h.Do(func() error {
		start := time.Now()
		for _, command := range []string{"qdisc replace dev tc0 root " + qdisc, "qdisc show dev tc0"} {
			if out, err := exec.Command("tc", strings.Fields(command)...).CombinedOutput(); err != nil {
				return fmt.Errorf("tc %s: %w: %s", command, err, out)
			}
		}
		took = time.Since(start)
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return took
}

// BenchmarkRTTError measures how far the RTT under a delay is from the RTT
// without plus the delay, by UDP echo, and how much it varies.
func BenchmarkRTTError(b *testing.B) {
	for _, delay := range []time.Duration{
		100 * time.Microsecond, 500 * time.Microsecond, time.Millisecond,
		5 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond,
	} {
		b.Run(delay.String(), func(b *testing.B) {
			a := freshAgent(b)
			a.lab.pod.Echo(b, a.lab.pod.IP)
			for b.Loop() {
				base := netlab.Median(a.lab.node.RoundTrips(b, a.lab.pod.IP, 100))
				a.set(delayText(delay))
				var errors []time.Duration
				for _, rtt := range a.lab.node.RoundTrips(b, a.lab.pod.IP, 200) {
					errors = append(errors, rtt-base-delay)
				}
				a.clear()
				quantiles(b, "error", errors)
			}
		})
	}
}

// delayText writes a delay as the API shows it.
func delayText(d time.Duration) string {
	if d < time.Millisecond {
		return fmt.Sprintf("%dus", d.Microseconds())
	}
	return fmt.Sprintf("%dms", d.Milliseconds())
}
