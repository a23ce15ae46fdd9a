package httpapi

import (
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/fault"
)

// metrics counts requests and, at every scrape, reads the faults' state from
// the kernel.
type metrics struct {
	engine   func() Engine
	read     func() (control.Snapshot, error)
	log      *slog.Logger
	requests *prometheus.CounterVec

	info                                         *prometheus.Desc
	held, delay, expires                         *prometheus.Desc
	packets, bytes, dropped, overlimits, backlog *prometheus.Desc
	readable, stored                             *prometheus.Desc
}

func newMetrics(version string, engine func() Engine, read func() (control.Snapshot, error), log *slog.Logger) *metrics {
	perFault := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("tidelay_fault_"+name, help, []string{"fault"}, nil)
	}
	perInstance := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("tidelay_fault_"+name, help, []string{"fault", "direction", "device"}, nil)
	}
	return &metrics{
		engine: engine,
		read:   read,
		log:    log,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidelay_agent_requests_total",
			Help: "HTTP requests, by method, route and the reason of their outcome.",
		}, []string{"method", "route", "reason"}),
		info: prometheus.NewDesc("tidelay_agent_info", "Always 1; the labels say which agent and engine run.",
			[]string{"engine"}, prometheus.Labels{"version": version}),
		readable:   prometheus.NewDesc("tidelay_agent_kernel_readable", "1 when the kernel's state could be read for this scrape, else 0.", nil, nil),
		stored:     prometheus.NewDesc("tidelay_agent_state_stored", "1 when the state file has the faults as they are, or none is kept; 0 while it can't be written or read.", nil, nil),
		held:       perFault("held", "1 when the kernel holds all of the fault, 0 when it is wanted and not held."),
		delay:      perFault("delay_seconds", "One-way delay of the fault; 0 for a fault that delays nothing."),
		expires:    perFault("expiry_timestamp_seconds", "When the fault ends by itself, Unix time; absent when it does not."),
		packets:    perInstance("packets_total", "Packets that went through the fault since it was set."),
		bytes:      perInstance("bytes_total", "Bytes that went through the fault since it was set."),
		dropped:    perInstance("dropped_packets_total", "Packets that the fault or its full queue dropped since it was set."),
		overlimits: perInstance("overlimit_packets_total", "Packets that found the fault's queue at its limit since it was set."),
		backlog:    perInstance("backlog_packets", "Packets that wait in the fault's queue now."),
	}
}

func (m *metrics) requested(method, route, reason string) {
	m.requests.WithLabelValues(knownMethod(method), route, reason).Inc()
}

// knownMethod keeps clients from adding label values without end.
func knownMethod(method string) string {
	switch method {
	case "GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH":
		return method
	default:
		return "other"
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	m.requests.Describe(ch)
	for _, desc := range []*prometheus.Desc{
		m.info, m.readable, m.stored, m.held, m.delay, m.expires,
		m.packets, m.bytes, m.dropped, m.overlimits, m.backlog,
	} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector. When the kernel can't be read it
// leaves out what the kernel counts, and sets tidelay_agent_kernel_readable to 0. It
// logs the error, unless no engine runs, which the log says already.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.requests.Collect(ch)
	ch <- prometheus.MustNewConstMetric(m.info, prometheus.GaugeValue, 1, m.engine().Name)
	now, err := m.read()
	noEngine := errors.Is(err, control.ErrNoEngine)
	readable := 1.0
	if err != nil {
		readable = 0
		if !noEngine {
			m.log.Error("read the kernel for metrics", "err", err)
		}
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	gauge(m.readable, readable)
	gauge(m.stored, map[bool]float64{true: 1}[now.Unsaved == nil && now.Unknown == nil])
	for _, f := range now.Desired.Faults {
		instances, found := now.Found.Found[f.Name]
		if err == nil || noEngine {
			gauge(m.held, map[bool]float64{true: 1}[found], f.Name)
		}
		gauge(m.delay, f.Impairment.Delay.Seconds(), f.Name)
		if !f.ExpiresAt.IsZero() {
			gauge(m.expires, float64(f.ExpiresAt.UnixMilli())/1000, f.Name)
		}
		for _, instance := range instances {
			m.collectInstance(ch, f.Name, instance)
		}
	}
}

func (m *metrics) collectInstance(ch chan<- prometheus.Metric, name string, i fault.Instance) {
	emit := func(desc *prometheus.Desc, kind prometheus.ValueType, value uint64) {
		ch <- prometheus.MustNewConstMetric(desc, kind, float64(value), name, i.Direction.String(), i.Device)
	}
	emit(m.packets, prometheus.CounterValue, i.Counters.Packets)
	emit(m.bytes, prometheus.CounterValue, i.Counters.Bytes)
	emit(m.dropped, prometheus.CounterValue, i.Counters.Dropped)
	emit(m.overlimits, prometheus.CounterValue, i.Counters.Overlimits)
	emit(m.backlog, prometheus.GaugeValue, i.Counters.Backlog)
}
