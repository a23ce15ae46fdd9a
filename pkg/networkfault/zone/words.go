package zone

import (
	"slices"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// What says in short what is between zones: the profile's name, and which zone is which of its
// places, or "1ms to 20ms RTT between 3 zones". names are the zones by label as they are known;
// without any it is empty for those.
func (r *Rules) What(names []string) string {
	if own := r.names(); len(own) > 0 {
		names = own
	}
	if r.profile != nil {
		return r.profile.Name + r.places(names)
	}
	links, err := r.Links(names)
	if err != nil || len(names) == 0 {
		return ""
	}
	var between, within []time.Duration
	for way, there := range links {
		back := links[compile.Way{From: way.To, To: way.From}]
		if rtt := (there.Delay + back.Delay) / 2; way.From == way.To {
			within = append(within, rtt)
		} else {
			between = append(between, rtt)
		}
	}
	zones := tidbcluster.Plural(len(names), "zone")
	switch outer, inner := describe(between, links), span(within); {
	case outer == "" && inner == "":
		return "nothing between " + zones
	case outer == "":
		return inner + " within " + tidbcluster.Plural(len(within), "zone")
	case inner == "":
		return outer + " between " + zones
	default:
		return outer + " between " + zones + ", " + inner + " within them"
	}
}

// places says which zone is which of the profile's places: " (a is ap, b is eu, c is us)"; "" if
// they have the same names, or are not known.
func (r *Rules) places(names []string) string {
	if len(names) != len(r.profile.Zones) || slices.Equal(names, r.profile.Zones) {
		return ""
	}
	var all []string
	for i, name := range names {
		all = append(all, name+" is "+r.profile.Zones[i])
	}
	return " (" + strings.Join(all, ", ") + ")"
}

// describe says what is between zones, of which the times are known, and what else than time
// links have; "" if that is nothing.
func describe(times []time.Duration, links map[compile.Way]fault.Impairment) string {
	has := func(is func(fault.Impairment) bool) bool {
		for _, i := range links {
			if is(i) {
				return true
			}
		}
		return false
	}
	var parts []string
	if text := span(times); text != "" {
		parts = append(parts, text)
	}
	if has(func(i fault.Impairment) bool { return i.Jitter > 0 }) {
		parts = append(parts, "jitter")
	}
	if has(fault.Impairment.Loses) {
		parts = append(parts, "loss"+upTo(links))
	}
	if has(func(i fault.Impairment) bool { return i.Rate != nil }) {
		parts = append(parts, "rate")
	}
	return strings.Join(parts, ", ")
}

// upTo says how much is lost at most, by links that lose a percentage; "" for none.
func upTo(links map[compile.Way]fault.Impairment) string {
	var most fault.Percent
	for _, i := range links {
		if i.Loss != nil {
			most = max(most, i.Loss.Percent)
		}
	}
	if most == 0 {
		return ""
	}
	return " up to " + most.String()
}

// span says from where to where times reach: "1ms to 20ms RTT"; "" for none.
func span(times []time.Duration) string {
	if len(times) == 0 {
		return ""
	}
	switch least, most := slices.Min(times), slices.Max(times); {
	case most == 0:
		return ""
	case least == most:
		return fault.FormatDelay(most) + " RTT"
	case least == 0:
		return "up to " + fault.FormatDelay(most) + " RTT"
	default:
		return fault.FormatDelay(least) + " to " + fault.FormatDelay(most) + " RTT"
	}
}
