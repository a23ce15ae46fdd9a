package networkfault

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// metrics are those of a Reconciler. They are empty while the replica does not lead.
type metrics struct {
	faults *prometheus.GaugeVec
	apply  prometheus.Histogram
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		faults: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidelay_faults",
			Help: "NetworkFaults of a TidbCluster, by phase: Pending, Running, Paused, Ended or Refused.",
		}, []string{"namespace", "tidbcluster", "phase"}),
		apply: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tidelay_apply_duration_seconds",
			Help:    "Time from when a NetworkFault is first seen, new or changed, until it is in force at all its pods.",
			Buckets: []float64{0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 300},
		}),
	}
	for _, c := range []prometheus.Collector{m.faults, m.apply} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of NetworkFaults: %w", err)
		}
	}
	return m, nil
}

// count sets how many faults a TidbCluster has in each phase.
func (m *metrics) count(cluster types.NamespacedName, statuses map[string]v1alpha1.NetworkFaultStatus) {
	if len(statuses) == 0 {
		m.faults.DeletePartialMatch(prometheus.Labels{"namespace": cluster.Namespace, "tidbcluster": cluster.Name})
		return
	}
	counts := map[v1alpha1.Phase]int{v1alpha1.Pending: 0, v1alpha1.Running: 0, v1alpha1.Paused: 0, v1alpha1.Ended: 0, v1alpha1.Refused: 0}
	for _, status := range statuses {
		counts[status.Phase]++
	}
	for phase, n := range counts {
		m.faults.WithLabelValues(cluster.Namespace, cluster.Name, string(phase)).Set(float64(n))
	}
}

func (m *metrics) applied(after time.Duration) { m.apply.Observe(after.Seconds()) }
