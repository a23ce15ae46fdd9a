package zone

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/profile"
	"github.com/tidelay/tidelay/pkg/networkfault/wire"
)

// link is what is between two zones, in one order or in both.
type link struct {
	field      string // its place in the spec, as "spec.links[0]"
	between    [2]string
	impairment fault.Impairment
}

// parseLinks reads what is between zones.
func (r *Rules) parseLinks(spec *v1alpha1.NetworkTopologySpec) error {
	all, field := spec.Links, "spec.links"
	if spec.Profile != "" {
		known, ok := profile.Named(spec.Profile)
		if !ok {
			return fmt.Errorf("spec.profile %q: want one of %s", api.Shorten(spec.Profile), strings.Join(profile.Names(), ", "))
		}
		r.profile, all, field = &known, known.Links, "spec.profile "+spec.Profile+": links"
	}
	for i, l := range all {
		one, err := parseLink(l, fmt.Sprintf("%s[%d]", field, i))
		if err != nil {
			return err
		}
		if j := slices.IndexFunc(r.links, func(other link) bool { return other.between == one.between }); j >= 0 {
			return fmt.Errorf("%s.between: %s to %s is that of %s already; want each order of two zones once", one.field, one.between[0], one.between[1], r.links[j].field)
		}
		r.links = append(r.links, one)
	}
	if spec.Defaults == nil {
		return nil
	}
	var err error
	if r.same, err = impairmentOf(v1alpha1.Link{RTT: spec.Defaults.SameZone}, "spec.defaults.sameZone: "); err != nil {
		return err
	}
	r.other, err = impairmentOf(v1alpha1.Link{RTT: spec.Defaults.OtherZone}, "spec.defaults.otherZone: ")
	return err
}

func parseLink(l v1alpha1.Link, field string) (link, error) {
	if len(l.Between) != 2 {
		return link{}, fmt.Errorf("%s.between: want two zones", field)
	}
	impairment, err := impairmentOf(l, field+".")
	if err == nil && l.Between[0] == l.Between[1] && impairment.Rate != nil && compile.IsOdd(impairment) {
		return link{}, fmt.Errorf("%s: rtt %q and jitter %q: want an even number of microseconds of both within a zone where there is a rate, which is one link for all packets of a pod", field, l.RTT, l.Jitter)
	}
	return link{field, [2]string{string(l.Between[0]), string(l.Between[1])}, impairment}, err
}

// impairmentOf returns what packets of a link meet. Its times are of the round trip. prefix
// is what stands before its fields in an error.
func impairmentOf(l v1alpha1.Link, prefix string) (fault.Impairment, error) {
	w := api.Fault{Name: "link", Delay: string(l.RTT), Jitter: string(l.Jitter), Loss: wire.Loss(l.Loss), Rate: wire.Rate(l.Rate)}
	if delay, err := fault.ParseDelay(w.Delay); w.Delay != "" && err == nil && delay == 0 {
		w.Delay = ""
	}
	if w.Delay == "" && w.Jitter == "" && w.Loss == nil && w.Rate == nil {
		return fault.Impairment{}, nil
	}
	f, err := fault.Parse(w, fault.Limits{})
	if err != nil {
		return fault.Impairment{}, fmt.Errorf("%s", wire.Words(err, prefix, true))
	}
	return f.Impairment, nil
}

// worked is what was worked out last: what is between zones of some names.
type worked struct {
	names []string
	links map[compile.Way]fault.Impairment
	err   error
}

// Links returns what packets between zones meet, as compile.Topology has it. names are the
// zones that there are, in order of name. A profile's zones are dealt to them in that order,
// and the error says so if they are too few or too many for it, or for the faults of a pod.
// It must not be changed: for the same names it is worked out once.
func (r *Rules) Links(names []string) (map[compile.Way]fault.Impairment, error) {
	if last := r.worked; last != nil && slices.Equal(last.names, names) {
		return last.links, last.err
	}
	links, err := r.workOut(names)
	r.worked = &worked{slices.Clone(names), links, err}
	return links, err
}

// workOut is Links without its memory.
func (r *Rules) workOut(names []string) (map[compile.Way]fault.Impairment, error) {
	stated := map[compile.Way]fault.Impairment{}
	dealt, err := r.dealt(names)
	if err != nil {
		return nil, err
	}
	for _, l := range r.links {
		stated[compile.Way{From: dealt(l.between[0]), To: dealt(l.between[1])}] = l.impairment
	}
	all := map[compile.Way]fault.Impairment{}
	for _, from := range names {
		met, odd := 0, 0
		for _, to := range names {
			way := compile.Way{From: from, To: to}
			one, known := stated[way]
			if !known {
				one, known = stated[compile.Way{From: to, To: from}]
			}
			if !known {
				one = r.fallback(way)
			}
			if !one.IsZero() {
				all[way] = one
				met++
			}
			if from == to && compile.IsOdd(one) {
				odd = 1 // pods before and after this one by name are in faults of their own
			}
		}
		if met+odd > compile.MaxFaults {
			own, instead := "", ""
			if odd > 0 {
				own, instead = " and one more for the odd microsecond within it", ", or an even number of microseconds"
			}
			return nil, fmt.Errorf("%s: pods of zone %s would need a fault for each of %d zones%s, and %d faults of a pod are possible; want fewer zones%s",
				r.source(), from, met, own, compile.MaxFaults, instead)
		}
	}
	return all, nil
}

// fallback returns what is between zones that no link is about.
func (r *Rules) fallback(way compile.Way) fault.Impairment {
	if way.From == way.To {
		return r.same
	}
	return r.other
}

// dealt returns the function that says which zone a zone of a link is.
func (r *Rules) dealt(names []string) (func(string) string, error) {
	if r.profile == nil {
		return func(name string) string { return name }, nil
	}
	if len(names) != len(r.profile.Zones) {
		return nil, fmt.Errorf("%s; want as many as the profile has", r.unlike(names))
	}
	return func(name string) string { return names[slices.Index(r.profile.Zones, name)] }, nil
}

// source is the field that says which zones there are.
func (r *Rules) source() string {
	switch {
	case r.spread > 0:
		return fmt.Sprintf("spec.spread %d", r.spread)
	case len(r.list) > 0:
		return "spec.zones"
	default:
		return "the label " + r.key + " of the pods' nodes"
	}
}
