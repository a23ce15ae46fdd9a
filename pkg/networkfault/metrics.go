package networkfault

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// metrics are those of a Reconciler. They are empty while the replica does not lead.
type metrics struct {
	faults, topologies *prometheus.GaugeVec
	apply              prometheus.Histogram
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		faults: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidelay_faults",
			Help: "NetworkFaults of a TidbCluster, by phase: Pending, Running, Paused, Ended or Refused.",
		}, []string{"namespace", "tidbcluster", "phase"}),
		topologies: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidelay_topologies",
			Help: "NetworkTopologies of a TidbCluster, by phase: Pending, Running, Paused, Ended or Refused.",
		}, []string{"namespace", "tidbcluster", "phase"}),
		apply: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tidelay_apply_duration_seconds",
			Help:    "Time from when a NetworkFault is first seen, new or changed, until it is in force at all its pods.",
			Buckets: []float64{0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 300},
		}),
	}
	for _, c := range []prometheus.Collector{m.faults, m.topologies, m.apply} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of NetworkFaults and NetworkTopologies: %w", err)
		}
	}
	return m, nil
}

// count sets how many faults and topologies a TidbCluster has in each phase.
func (m *metrics) count(cluster types.NamespacedName, decision decide.Decision) {
	var faults, topologies []v1alpha1.Phase
	for _, status := range decision.Statuses {
		faults = append(faults, status.Phase)
	}
	for _, status := range decision.Topologies {
		topologies = append(topologies, status.Phase)
	}
	count(m.faults, cluster, faults)
	count(m.topologies, cluster, topologies)
}

// count sets a gauge to how often each phase is among some. Without any, it has nothing of
// the TidbCluster.
func count(gauge *prometheus.GaugeVec, cluster types.NamespacedName, phases []v1alpha1.Phase) {
	if len(phases) == 0 {
		gauge.DeletePartialMatch(prometheus.Labels{"namespace": cluster.Namespace, "tidbcluster": cluster.Name})
		return
	}
	counts := map[v1alpha1.Phase]int{v1alpha1.Pending: 0, v1alpha1.Running: 0, v1alpha1.Paused: 0, v1alpha1.Ended: 0, v1alpha1.Refused: 0}
	for _, phase := range phases {
		counts[phase]++
	}
	for phase, n := range counts {
		gauge.WithLabelValues(cluster.Namespace, cluster.Name, string(phase)).Set(float64(n))
	}
}

func (m *metrics) applied(after time.Duration) { m.apply.Observe(after.Seconds()) }
