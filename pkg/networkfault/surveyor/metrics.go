package surveyor

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

// metrics are those of a Surveyor.
type metrics struct {
	wrong        *prometheus.GaugeVec
	measurements *prometheus.CounterVec
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	var outcomes []string
	for _, o := range verify.Outcomes() {
		outcomes = append(outcomes, string(o))
	}
	m := &metrics{
		wrong: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidelay_pairs_out_of_tolerance",
			Help: "Measured pairs of pods of a TidbCluster, and counters of its agents, that show something else than its faults ask for.",
		}, []string{"namespace", "tidbcluster"}),
		measurements: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidelay_measurements_total", Help: "Measurements of pairs of pods and comparisons of agents' counters, by outcome: " + strings.Join(outcomes, ", ") + ".",
		}, []string{"outcome"}),
	}
	for _, o := range outcomes {
		m.measurements.WithLabelValues(o)
	}
	for _, c := range []prometheus.Collector{m.wrong, m.measurements} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) measured(o verify.Outcome) { m.measurements.WithLabelValues(string(o)).Inc() }

// show shows how many pairs and counters of a TidbCluster are wrong, as long as it has any.
func (m *metrics) show(cluster types.NamespacedName, agents map[types.UID]*agent) {
	wrong, all := 0, 0
	for _, a := range agents {
		for _, t := range a.tasks {
			all++
			if t.state.Verdict == verify.Wrong {
				wrong++
			}
		}
	}
	if all == 0 {
		m.wrong.DeleteLabelValues(cluster.Namespace, cluster.Name)
		return
	}
	m.wrong.WithLabelValues(cluster.Namespace, cluster.Name).Set(float64(wrong))
}
