package keeper

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of a Keeper.
type metrics struct {
	pushes   *prometheus.CounterVec // by result
	seconds  prometheus.Histogram
	putRight prometheus.Counter
}

// newMetrics registers the metrics. outOfStep counts the agents that are.
func newMetrics(registry prometheus.Registerer, outOfStep func() float64) (*metrics, error) {
	m := &metrics{
		pushes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidelay_pushes_total",
			Help: "Requests that bring an agent its faults, or renew them, by result: ok, unreachable (no connection), timeout (no answer), " +
				"refused (400, 413, 422), conflict (409), other_pod (421), unauthorized (401, 403), busy (429, 503), no_engine (501), " +
				"other_faults (200 with faults that were not asked for) or error.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tidelay_push_duration_seconds", Help: "How long these requests took.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 13),
		}),
		putRight: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidelay_agents_put_right_total", Help: "Renewals that found an agent without the faults that it had confirmed, or with others.",
		}),
	}
	for _, o := range outcomes() {
		m.pushes.WithLabelValues(string(o))
	}
	gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tidelay_agents_out_of_step", Help: "Agents that have not confirmed the faults that they are to hold, or did not answer a renewal.",
	}, outOfStep)
	for _, c := range []prometheus.Collector{m.pushes, m.seconds, m.putRight, gauge} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// count counts a request.
func (m *metrics) count(o outcome, took time.Duration) {
	m.pushes.WithLabelValues(string(o)).Inc()
	m.seconds.Observe(took.Seconds())
}
