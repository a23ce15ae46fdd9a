package decide

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/selector"
	"github.com/tidelay/tidelay/pkg/networkfault/wire"
)

// faultAsked is what a NetworkFault asks for.
type faultAsked struct {
	spec                       *v1alpha1.NetworkFaultSpec
	fromSelectors, toSelectors []selector.Selector
	impairment                 fault.Impairment
	ports                      []api.PortRange

	isStarted bool
	// before are the pods that its status lists, and selected those that it is to list.
	before, selected []v1alpha1.SelectedPod
	from, to         []string // names of pods
	cidrs            []netip.Prefix
}

// parse reads the spec, in the words of the agent.
func (f *faultAsked) parse() *refusal {
	spec := f.spec
	var err error
	if f.fromSelectors, err = parseSelectors("spec.from", spec.From, false); err != nil {
		return &refusal{ReasonInvalidSelector, err.Error()}
	}
	if f.toSelectors, err = parseSelectors("spec.to", spec.To, true); err != nil {
		return &refusal{ReasonInvalidSelector, err.Error()}
	}
	for i, port := range spec.Ports {
		r, err := api.ParsePortRange(port.String())
		if err != nil {
			return &refusal{ReasonInvalid, fmt.Sprintf("spec.ports[%d]: %v", i, err)}
		}
		f.ports = append(f.ports, r)
	}
	f.ports = compile.Joined(f.ports)
	if why := f.isVain(); why != "" {
		return &refusal{ReasonInvalid, why}
	}
	parsed, err := fault.Parse(wireOf(spec), fault.Limits{})
	if err != nil {
		return &refusal{ReasonInvalid, wire.Words(err, "spec.", spec.RTT != "")}
	}
	f.impairment = parsed.Impairment
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
		Delay: string(spec.Delay), Jitter: string(spec.Jitter), Distribution: spec.Distribution, Correlation: wire.Percent(spec.Correlation),
		Loss: wire.Loss(spec.Loss), Duplicate: wire.Chance(spec.Duplicate), Corrupt: wire.Chance(spec.Corrupt), Rate: wire.Rate(spec.Rate), Partition: spec.Partition,
	}
	if spec.RTT != "" {
		w.Delay = string(spec.RTT)
	}
	if r := spec.Reorder; r != nil {
		w.Reorder = &api.Reorder{Percent: float64(r.Percent), Correlation: wire.Percent(r.Correlation)}
		if r.Gap != nil {
			w.Reorder.Gap = uint32(max(*r.Gap, 0)) //nolint:gosec // it is not negative
		}
	}
	return w
}

// what says in short what happens to packets.
func (f *faultAsked) what() string {
	var parts []string
	say := func(is bool, format string, args ...any) {
		if is {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	spec, i := f.spec, f.impairment
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
	if spec.Protocol != "" || len(f.ports) > 0 {
		text += " of"
	}
	if spec.Protocol != "" {
		text += " " + spec.Protocol
	}
	var ports []string
	for _, p := range f.ports {
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
