package decide

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/selector"
)

// parsed is a spec as it was understood.
type parsed struct {
	fromSelectors, toSelectors []selector.Selector
	impairment                 fault.Impairment
	ports                      []api.PortRange
	duration                   time.Duration // 0 for until deleted
}

// refusal is why a fault is refused.
type refusal struct{ reason, message string }

// parse reads the spec. What the custom resource definition lets through is refused here,
// in the words of the agent.
func (o *object) parse() *refusal {
	spec := &o.Spec
	var err error
	if o.fromSelectors, err = parseSelectors("spec.from", spec.From, false); err != nil {
		return &refusal{ReasonInvalidSelector, err.Error()}
	}
	if o.toSelectors, err = parseSelectors("spec.to", spec.To, true); err != nil {
		return &refusal{ReasonInvalidSelector, err.Error()}
	}
	for i, port := range spec.Ports {
		r, err := api.ParsePortRange(port.String())
		if err != nil {
			return &refusal{ReasonInvalid, fmt.Sprintf("spec.ports[%d]: %v", i, err)}
		}
		o.ports = append(o.ports, r)
	}
	o.ports = joined(o.ports)
	if why := o.isVain(); why != "" {
		return &refusal{ReasonInvalid, why}
	}
	wire := wireOf(spec)
	f, err := fault.Parse(wire, fault.Limits{})
	if err != nil {
		return &refusal{ReasonInvalid, invalid(err, spec.RTT != "")}
	}
	o.impairment, o.duration = f.Impairment, 0
	if !spec.UntilDeleted {
		if o.duration, err = fault.ParseDuration(string(spec.Duration)); err != nil {
			return &refusal{ReasonInvalid, fmt.Sprintf("spec.duration %q: %v", spec.Duration, err)}
		}
	}
	return nil
}

// parseSelectors reads one side. A selector of the custom resource may be several, parted
// by commas.
func parseSelectors(field string, texts []v1alpha1.Selector, isTo bool) ([]selector.Selector, error) {
	var all []selector.Selector
	for i, text := range texts {
		some, err := selector.Parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", field, i, err)
		}
		for _, s := range some {
			if !isTo && (s.Others || s.CIDR.IsValid()) {
				return nil, fmt.Errorf("%s[%d]: %s can be on the side spec.to only", field, i, s)
			}
		}
		all = append(all, some...)
	}
	return all, nil
}

// wireOf returns the impairment as the agent's JSON has it. What is added to a round trip
// is a delay there.
func wireOf(spec *v1alpha1.NetworkFaultSpec) api.Fault {
	w := api.Fault{
		Name: "spec", Protocol: spec.Protocol,
		Delay: string(spec.Delay), Jitter: string(spec.Jitter), Distribution: spec.Distribution, Correlation: percentOf(spec.Correlation),
		Duplicate: chanceOf(spec.Duplicate), Corrupt: chanceOf(spec.Corrupt), Partition: spec.Partition,
	}
	if spec.RTT != "" {
		w.Delay = string(spec.RTT)
	}
	if l := spec.Loss; l != nil {
		w.Loss = &api.Loss{Percent: percentOf(l.Percent), Correlation: percentOf(l.Correlation)}
		if m := l.GilbertElliott; m != nil {
			w.Loss.GilbertElliott = &api.GilbertElliott{ToBad: float64(m.ToBad), ToGood: float64(m.ToGood), LossInBad: float64(m.LossInBad), LossInGood: float64(m.LossInGood)}
		}
		if m := l.FourState; m != nil {
			w.Loss.FourState = &api.FourState{P13: float64(m.P13), P31: float64(m.P31), P32: float64(m.P32), P23: float64(m.P23), P14: float64(m.P14)}
		}
	}
	if r := spec.Reorder; r != nil {
		w.Reorder = &api.Reorder{Percent: float64(r.Percent), Correlation: percentOf(r.Correlation)}
		if r.Gap != nil {
			w.Reorder.Gap = uint32(max(*r.Gap, 0)) //nolint:gosec // it is not negative
		}
	}
	if r := spec.Rate; r != nil {
		w.Rate = &api.Rate{PerSecond: r.PerSecond, PacketOverhead: r.PacketOverhead, CellSize: uint32(max(r.CellSize, 0)), CellOverhead: r.CellOverhead} //nolint:gosec // it is not negative
	}
	return w
}

func percentOf(p *v1alpha1.Percent) float64 {
	if p == nil {
		return 0
	}
	return float64(*p)
}

func chanceOf(c *v1alpha1.Chance) *api.Chance {
	if c == nil {
		return nil
	}
	return &api.Chance{Percent: float64(c.Percent), Correlation: percentOf(c.Correlation)}
}

// invalid words what the agent's own parser found, by the fields of the spec.
func invalid(err error, isRoundTrip bool) string {
	fields, ok := errors.AsType[fault.Invalid](err)
	if !ok {
		return err.Error()
	}
	var all []string
	for _, e := range fields {
		if isRoundTrip && e.Field == "delay" {
			e.Field = "rtt"
		}
		e.Field = "spec." + e.Field
		all = append(all, e.Error())
	}
	return strings.Join(all, "; ")
}

// joined returns ports sorted, and those that touch or overlap as one range.
func joined(ports []api.PortRange) []api.PortRange {
	slices.SortFunc(ports, func(a, b api.PortRange) int { return cmp.Compare(a.First, b.First) })
	var all []api.PortRange
	for _, p := range ports {
		if last := len(all) - 1; last >= 0 && int(p.First) <= int(all[last].Last)+1 {
			all[last].Last = max(all[last].Last, p.Last)
		} else {
			all = append(all, p)
		}
	}
	return all
}

// expire sets when the fault ends, if it has started.
func (o *object) expire() {
	o.status.ExpiresAt = nil
	if o.status.StartedAt != nil && o.duration > 0 {
		o.status.ExpiresAt = &metav1.Time{Time: wholeSecond(o.status.StartedAt.Add(o.duration))}
	}
}

// wholeSecond rounds up. Times of objects are kept in whole seconds, so that what is read
// back is what was written, and no fault is shorter than asked for. All times of a status
// are rounded up, so that what happens at once has one time.
func wholeSecond(t time.Time) time.Time { return t.Add(time.Second - 1).Truncate(time.Second) }

// what says in short what happens to packets.
func (o *object) what() string {
	var parts []string
	say := func(is bool, format string, args ...any) {
		if is {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	spec, i := &o.Spec, o.impairment
	jitter := ""
	if spec.Jitter != "" {
		jitter = " ±" + string(spec.Jitter)
	}
	say(spec.RTT != "", "+%s%s RTT", spec.RTT, jitter)
	way := "each way"
	if spec.OneWay {
		way = "one way"
	}
	say(spec.Delay != "", "+%s%s %s", spec.Delay, jitter, way)
	say(i.Loss != nil, "loss %s", percentText(i.Loss))
	say(i.GilbertElliott != nil || i.FourState != nil, "loss in bursts")
	say(i.Duplicate != nil, "duplicate %s", percentText(i.Duplicate))
	say(i.Corrupt != nil, "corrupt %s", percentText(i.Corrupt))
	say(i.Reorder != nil, "reorder")
	say(spec.Rate != nil, "rate %s", rateText(spec.Rate))
	say(i.Partition, "partition")
	text := strings.Join(parts, ", ")
	if spec.OneWay && spec.Delay == "" {
		text += " one way"
	}
	if spec.Protocol != "" || len(o.ports) > 0 {
		text += " of"
	}
	if spec.Protocol != "" {
		text += " " + spec.Protocol
	}
	var ports []string
	for _, p := range o.ports {
		ports = append(ports, p.String())
	}
	if len(ports) > 0 {
		text += " port " + strings.Join(ports, ",")
	}
	return text
}

func percentText(c *fault.Chance) string {
	if c == nil {
		return ""
	}
	return c.Percent.String()
}

func rateText(r *v1alpha1.Rate) string {
	if r == nil {
		return ""
	}
	return r.PerSecond
}
