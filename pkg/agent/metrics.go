package agent

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidelay/tidelay/pkg/agent/fault"
)

// Label values of tidelay_agent_changes_total.
const (
	opSet   = "set"
	opClear = "clear"

	resultOK       = "ok"
	resultRejected = "rejected" // bad input, nothing was changed
	resultFailed   = "failed"   // the kernel or the disk refused
)

// metrics counts what was asked for and, at every scrape, reads from the
// kernel what it holds.
type metrics struct {
	state   func() (fault.State, error)
	log     *slog.Logger
	changes *prometheus.CounterVec
	info    prometheus.Gauge

	delay, packets, bytes, dropped, overlimits, backlog *prometheus.Desc
}

func newMetrics(version, engine string, state func() (fault.State, error), log *slog.Logger) *metrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("tidelay_fault_"+name, help, []string{"fault", "direction"}, nil)
	}
	m := &metrics{
		state: state,
		log:   log,
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidelay_agent_changes_total",
			Help: "Requests to change the fault, by operation and result.",
		}, []string{"op", "result"}),
		info: prometheus.NewGauge(prometheus.GaugeOpts{
			Name:        "tidelay_agent_info",
			Help:        "Always 1; the labels say which agent and engine run.",
			ConstLabels: prometheus.Labels{"version": version, "engine": engine},
		}),
		delay:      desc("delay_seconds", "One-way delay that the kernel applies now."),
		packets:    desc("packets_total", "Packets that went through the fault since it was set."),
		bytes:      desc("bytes_total", "Bytes that went through the fault since it was set."),
		dropped:    desc("dropped_packets_total", "Packets that the fault's queue dropped since it was set."),
		overlimits: desc("overlimit_packets_total", "Packets that found the fault's queue full since it was set."),
		backlog:    desc("backlog_packets", "Packets that wait in the fault's queue now."),
	}
	m.info.Set(1)
	for _, op := range []string{opSet, opClear} {
		for _, result := range []string{resultOK, resultRejected, resultFailed} {
			m.changes.WithLabelValues(op, result)
		}
	}
	return m
}

func (m *metrics) changed(op, result string) { m.changes.WithLabelValues(op, result).Inc() }

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	m.changes.Describe(ch)
	m.info.Describe(ch)
	for _, desc := range []*prometheus.Desc{m.delay, m.packets, m.bytes, m.dropped, m.overlimits, m.backlog} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector. Without a fault it has no fault's
// series; when the kernel can't be read it has none either, and says so in the
// log.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.changes.Collect(ch)
	m.info.Collect(ch)
	state, err := m.state()
	if err != nil {
		m.log.Error("read the kernel for metrics", "err", err)
		return
	}
	if state.Fault == nil {
		return
	}
	emit := func(desc *prometheus.Desc, kind prometheus.ValueType, value float64) {
		ch <- prometheus.MustNewConstMetric(desc, kind, value, state.Fault.Name, directionEgress)
	}
	emit(m.delay, prometheus.GaugeValue, state.Fault.Delay.Seconds())
	emit(m.packets, prometheus.CounterValue, float64(state.Counters.Packets))
	emit(m.bytes, prometheus.CounterValue, float64(state.Counters.Bytes))
	emit(m.dropped, prometheus.CounterValue, float64(state.Counters.Dropped))
	emit(m.overlimits, prometheus.CounterValue, float64(state.Counters.Overlimits))
	emit(m.backlog, prometheus.GaugeValue, float64(state.Counters.Backlog))
}
