package webhook

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	decisions *prometheus.CounterVec
	duration  prometheus.Histogram
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidelay_admission_decisions_total",
			Help: "Admissions answered, by reason and by the pod's component where it is known.",
		}, []string{"reason", "component"}),
		// controller-runtime's own histogram has one bucket per decade.
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tidelay_admission_duration_seconds",
			Help:    "Time to answer an admission, lookups included.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}),
	}
	for _, c := range []prometheus.Collector{m.decisions, m.duration} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metric: %w", err)
		}
	}
	return m, nil
}
