package webhook

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

type metrics struct {
	decisions *prometheus.CounterVec
	duration  prometheus.Histogram
	followUps *prometheus.CounterVec
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
		followUps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidelay_admission_outcomes_total",
			Help: "Admissions answered with injected or refused, by what was found of the pod seconds later.",
		}, []string{"outcome"}),
	}
	for _, c := range []prometheus.Collector{m.decisions, m.duration, m.followUps} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metric: %w", err)
		}
	}
	m.initialize()
	return m, nil
}

// initialize gives every counter that an alert may be about its first sample, 0. An
// increase from no sample to 1 is none to Prometheus.
func (m *metrics) initialize() {
	components := append(tidbcluster.Components(), "")
	for _, reason := range injection.Reasons() {
		if !reason.Unwanted() && reason != injection.StaleOwner {
			continue
		}
		for _, component := range components {
			m.decisions.WithLabelValues(string(reason), string(component))
		}
	}
	for _, o := range outcomes() {
		m.followUps.WithLabelValues(string(o))
	}
}
