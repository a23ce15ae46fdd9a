// Package measure measures the round-trip time (RTT) to other hosts from inside
// the pod, as its applications experience it, faults included. It also compares
// that with what faults should add.
package measure

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Bounds of a plan, so that no request makes much traffic.
const (
	MaxTargets = 16
	MaxCount   = 100
	// MaxTime bounds Plan.Time.
	MaxTime = time.Minute
)

// Target is a host to measure to: by TCP if there is a port, else by ICMP echo.
type Target struct {
	Addr netip.Addr
	Port uint16
}

// String returns "IP" or "IP:PORT", as ParseTarget reads it.
func (t Target) String() string {
	if t.Port == 0 {
		return t.Addr.String()
	}
	return netip.AddrPortFrom(t.Addr, t.Port).String()
}

// Protocol is "tcp" or "icmp".
func (t Target) Protocol() string {
	if t.Port == 0 {
		return fault.ProtocolICMP
	}
	return fault.ProtocolTCP
}

const targetAccepted = `want "IP" for ICMP or "IP:PORT" for TCP ("10.0.0.5", "10.0.0.5:20160", "[fd00::5]:20160")`

// ParseTarget reads "IP" or "IP:PORT". It refuses host names, because they may
// resolve to another address at the next sample.
func ParseTarget(s string) (Target, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return Target{Addr: addr.Unmap()}, nil
	}
	addrPort, err := netip.ParseAddrPort(s)
	if err != nil || addrPort.Port() == 0 || addrPort.Addr().Zone() != "" {
		return Target{}, fmt.Errorf("target %.60q: %s", s, targetAccepted)
	}
	return Target{Addr: addrPort.Addr().Unmap(), Port: addrPort.Port()}, nil
}

// Plan is what to measure.
type Plan struct {
	Targets []Target
	// Count is the number of samples of each target, 1 to MaxCount.
	Count int
	// Interval is the time between samples, and Timeout how long to wait for the
	// answer to one.
	Interval, Timeout time.Duration
}

// Time returns how long a plan lasts if no sample is answered, the longest
// possible.
func (p Plan) Time() time.Duration {
	return time.Duration(p.Count) * max(p.Interval, p.Timeout)
}

// Parse reads a request and fills in the defaults. The error is a fault.Invalid
// with every bad value.
func Parse(w api.Measure) (Plan, error) {
	p := Plan{Count: 10, Interval: 100 * time.Millisecond, Timeout: time.Second}
	bad := p.parseTargets(w)
	if w.Count != 0 {
		if w.Count < 1 || w.Count > MaxCount {
			bad = append(bad, api.FieldError{Field: "count", Value: strconv.Itoa(w.Count), Accepted: fmt.Sprintf("want 1 to %d", MaxCount)})
		}
		p.Count = w.Count
	}
	bad = append(bad, parseTime("interval", w.Interval, 10*time.Millisecond, time.Second, &p.Interval)...)
	bad = append(bad, parseTime("timeout", w.Timeout, 10*time.Millisecond, 10*time.Second, &p.Timeout)...)
	if len(bad) == 0 && p.Time() > MaxTime {
		bad = append(bad, api.FieldError{
			Field: "count", Value: strconv.Itoa(p.Count),
			Accepted: fmt.Sprintf("want count times the larger of interval and timeout within %s, not %s", MaxTime, p.Time()),
		})
	}
	if len(bad) > 0 {
		return Plan{}, bad
	}
	return p, nil
}

// parseTargets reads the targets, and returns the bad values.
func (p *Plan) parseTargets(w api.Measure) fault.Invalid {
	var bad fault.Invalid
	if len(w.Targets) == 0 || len(w.Targets) > MaxTargets {
		bad = append(bad, api.FieldError{Field: "targets", Value: fmt.Sprintf("%d targets", len(w.Targets)), Accepted: fmt.Sprintf("want 1 to %d", MaxTargets)})
	}
	known := w.Protocol == fault.ProtocolTCP || w.Protocol == fault.ProtocolICMP
	if w.Protocol != "" && !known {
		bad = append(bad, api.FieldError{Field: "protocol", Value: fmt.Sprintf("%.60s", w.Protocol), Accepted: "want tcp or icmp"})
	}
	for i, text := range w.Targets[:min(len(w.Targets), MaxTargets)] {
		field := fmt.Sprintf("targets[%d]", i)
		target, err := ParseTarget(text)
		switch {
		case err != nil:
			bad = append(bad, api.FieldError{Field: field, Value: fmt.Sprintf("%.60s", text), Accepted: targetAccepted})
		case known && w.Protocol != target.Protocol():
			bad = append(bad, api.FieldError{Field: field, Value: text, Accepted: "want a port for protocol tcp and none for icmp"})
		}
		p.Targets = append(p.Targets, target)
	}
	return bad
}

func parseTime(field, text string, least, most time.Duration, into *time.Duration) fault.Invalid {
	if text == "" {
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < least || d > most {
		return fault.Invalid{{Field: field, Value: fmt.Sprintf("%.60s", text), Accepted: fmt.Sprintf(`want a time with its unit ("100ms", "1s"), from %s to %s`, least, most)}}
	}
	*into = d
	return nil
}
