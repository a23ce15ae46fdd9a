package missed

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/injection"
)

// metrics are the gauges of a Checker. They are empty while the replica does not lead.
type metrics struct {
	missed, notRunning, unusable, silent, needing *prometheus.GaugeVec // by namespace and tidbcluster
	without, blocked                              *prometheus.GaugeVec // by reason as well
	interval, last                                *prometheus.GaugeVec // without labels
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		missed: gauge("tidelay_missed_pods",
			"Running pods that would carry the agent if they were made now, and do not.", "namespace", "tidbcluster"),
		notRunning: gauge("tidelay_agents_not_running",
			"Pods with an agent whose container does not run.", "namespace", "tidbcluster"),
		unusable: gauge("tidelay_agents_unusable",
			"Pods with an agent that runs and can't be used: it can't set faults, or something else has its port.", "namespace", "tidbcluster"),
		silent: gauge("tidelay_agents_silent",
			"Pods with an agent that the controller could not ask, maybe because of the network between them.", "namespace", "tidbcluster"),
		needing: gauge("tidelay_pods_need_injector",
			"1 if pods of the TidbCluster are not made while the injector does not answer (failurePolicy Fail), else 0.", "namespace", "tidbcluster"),
		without: gauge("tidelay_pods_without_agent",
			"Running pods that are asked to carry the agent and do not, by the reason in the condition TidelayInjected.", "namespace", "tidbcluster", "reason"),
		blocked: gauge("tidelay_injection_blocked",
			"1 for what keeps a pod that is made now from being injected.", "namespace", "tidbcluster", "reason"),
		interval: gauge("tidelay_missed_check_interval_seconds",
			"Time between two checks of all TidbClusters."),
		last: gauge("tidelay_missed_check_last_success_timestamp_seconds",
			"When all TidbClusters were last checked and told, as Unix time; 0 for not since this replica leads."),
	}
	for _, g := range m.all() {
		if err := registry.Register(g); err != nil {
			return nil, fmt.Errorf("register metrics of the check: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) all() []*prometheus.GaugeVec {
	return append(m.counts(), m.without, m.blocked, m.interval, m.last)
}

// counts are the gauges of a TidbCluster that have no reason.
func (m *metrics) counts() []*prometheus.GaugeVec {
	return []*prometheus.GaugeVec{m.missed, m.notRunning, m.unusable, m.silent, m.needing}
}

// begin sets what is known before the first check.
func (m *metrics) begin(interval time.Duration) {
	m.interval.WithLabelValues().Set(interval.Seconds())
	m.last.WithLabelValues().Set(0)
}

// set sets what a report says of a TidbCluster.
func (m *metrics) set(cluster types.NamespacedName, r *Report) {
	needing := 0
	if r.needsInjector() != "" {
		needing = 1
	}
	for i, count := range []int{r.Missed(), len(r.NotRunning), len(r.Unusable), r.Silent, needing} {
		m.counts()[i].WithLabelValues(cluster.Namespace, cluster.Name).Set(float64(count))
	}
	m.setReasons(cluster, r)
}

// setReasons sets the gauges that have a reason. A reason that does not apply has no
// sample.
func (m *metrics) setReasons(cluster types.NamespacedName, r *Report) {
	counts, blocked := map[injection.Reason]int{}, map[injection.Reason]int{}
	for _, pod := range r.Without {
		counts[pod.Reason]++
	}
	if r.blocked != nil {
		blocked[r.blocked.reason] = 1
	}
	for gauge, now := range map[*prometheus.GaugeVec]map[injection.Reason]int{m.without: counts, m.blocked: blocked} {
		for _, reason := range reasonsWithout() {
			if count := now[reason]; count > 0 {
				gauge.WithLabelValues(cluster.Namespace, cluster.Name, string(reason)).Set(float64(count))
			} else {
				gauge.DeleteLabelValues(cluster.Namespace, cluster.Name, string(reason))
			}
		}
	}
}

// forget removes what was said of a TidbCluster.
func (m *metrics) forget(cluster types.NamespacedName) {
	for _, g := range m.counts() {
		g.DeleteLabelValues(cluster.Namespace, cluster.Name)
	}
	m.setReasons(cluster, &Report{})
}

// reset removes everything.
func (m *metrics) reset() {
	for _, g := range m.all() {
		g.Reset()
	}
}
