package verify

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Between returns the handshakes that one pod measures to another, whatever is asked for
// between them. The port is the first that shows what is asked for, of those of the component
// and of those that faults name; where nothing is asked for, it is the component's first. The
// second result says why nothing can be measured; "" if it can.
func Between(from, to *Pod) (Check, string) {
	check := Check{From: from.Name, To: to.Name}
	r, why := commonRoute(from, to)
	if why != "" {
		return check, why
	}
	check.Addr = r.toAddr
	for _, port := range targets(to, r.here.faults, r.there.faults) {
		if port == 0 {
			continue
		}
		asked, _, _ := r.asked(port)
		isFirst := check.Port == 0
		if shows := asked.Cut || asked.RTT > 0; isFirst || shows {
			check.Port, check.Asked = port, asked
			if shows {
				break
			}
		}
	}
	switch a := check.Asked; {
	case check.Port == 0:
		return check, "no port of its component is known"
	case !a.Cut && a.RTT+a.Spread > longest:
		return check, a.cannot(false)
	default:
		return check, ""
	}
}

// commonRoute returns the route between two pods by the family of the first address that the
// other one has too.
func commonRoute(from, to *Pod) (route, string) {
	for _, addr := range from.Addrs {
		if _, has := to.addr(addr.Is6()); has {
			r, ok := newRoute(from, to, addr.Is6())
			if !ok {
				return r, "chance decides which handshakes meet a fault, by the port that they come from"
			}
			return r, ""
		}
	}
	for _, pod := range []*Pod{from, to} {
		if len(pod.Addrs) == 0 {
			return route{}, pod.Name + " has no address"
		}
	}
	return route{}, "they have no addresses of one family"
}

// MaxBatch is how many checks an agent measures at once: each has two targets, and a request
// has 16.
const MaxBatch = 8

// Batch is checks of one agent that are measured at once.
type Batch []Check

// alike is how much longer than its own wait a check of a batch may wait for an answer. A SYN
// that was lost is sent again after a second, and with this much its answer is not waited for.
const alike = 250 * time.Millisecond

// Batches divides the checks of one agent into batches. Those of one batch wait about as long
// for an answer, so that none keeps the others waiting.
func Batches(checks []Check) []Batch {
	all := slices.Clone(checks)
	slices.SortStableFunc(all, func(a, b Check) int {
		return cmp.Or(cmp.Compare(a.samples(), b.samples()), cmp.Compare(a.timeout(), b.timeout()))
	})
	var batches []Batch
	for _, c := range all {
		if n := len(batches); n > 0 {
			last := batches[n-1]
			if first := last[0]; len(last) < MaxBatch && first.samples() == c.samples() && c.timeout()-first.timeout() <= alike {
				batches[n-1] = append(last, c)
				continue
			}
		}
		batches = append(batches, Batch{c})
	}
	return batches
}

// Measure returns what the agent is asked to measure: of each check first the baseline, then
// the pair.
func (b Batch) Measure() api.Measure {
	var m api.Measure
	for i := range b {
		one := b[i].Measure()
		m.Targets = append(m.Targets, one.Targets...)
		m.Count, m.Interval, m.Timeout = one.Count, one.Interval, one.Timeout // the last waits longest
	}
	return m
}

// Judge compares what was measured with what is asked for, check by check.
func (b Batch) Judge(answer api.Measurements) ([]Judgement, error) {
	if len(answer.Results) != 2*len(b) {
		return nil, fmt.Errorf("its agent answered with %d measurements of %d", len(answer.Results), 2*len(b))
	}
	all := make([]Judgement, len(b))
	for i := range b {
		all[i] = b[i].Judge(answer.Results[2*i], answer.Results[2*i+1])
	}
	return all, nil
}

// Explain says in words why a Result is not right, without the names of its pods; "" if it is
// right.
func (r *Result) Explain() string {
	switch r.Verdict {
	case Right:
		return ""
	case Wrong:
		return r.wrong()
	default:
		return r.why()
	}
}

// Longest returns how long the measurement takes if nobody answers.
func (b Batch) Longest() time.Duration { return b[len(b)-1].Longest() }
