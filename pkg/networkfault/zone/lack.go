package zone

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Few says that fewer than two zones have pods, and which, with what would help; "" if there
// are enough.
func (r *Rules) Few(z Zones) string {
	var seen []string
	for _, name := range z.Populated() {
		seen = append(seen, fmt.Sprintf("%s (%s)", name, tidbcluster.Plural(len(z.Pods(name)), "pod")))
	}
	if len(seen) > 1 {
		return ""
	}
	text := fmt.Sprintf("fewer than 2 zones have pods: %s, by %s", cmp.Or(strings.Join(seen, ", "), "none"), r.source())
	return text + r.help(z)
}

// Short says that there are fewer zones by label than the profile has, and which, with what
// would help; "" if there are not.
func (r *Rules) Short(z Zones) string {
	if r.profile == nil || len(z.Names) >= len(r.profile.Zones) {
		return ""
	}
	return r.unlike(z.Names) + r.help(z)
}

// help says what more pods in zones by label would need; "" for other zones.
func (r *Rules) help(z Zones) string {
	if r.key == "" {
		return ""
	}
	var text string
	if n := len(z.Unzoned) - z.Unscheduled; n > 0 {
		text = fmt.Sprintf("; %s on nodes without it", tidbcluster.Plural(n, "pod"))
	}
	if z.Unscheduled > 0 {
		text += fmt.Sprintf("; %s on no node yet", tidbcluster.Plural(z.Unscheduled, "pod"))
	}
	return text + "; label the nodes, or list zones (spec.zones), or have them dealt out (spec.spread)"
}

// unlike says that there are fewer zones than the profile has, or more.
func (r *Rules) unlike(names []string) string {
	return fmt.Sprintf("spec.profile %s is for %d zones (%s), and %s makes %d: %s", r.profile.Name,
		len(r.profile.Zones), strings.Join(r.profile.Zones, ", "), r.source(), len(names), cmp.Or(strings.Join(names, ", "), "none"))
}

// Adds reports whether anything is between some zones, if they have pods.
func (r *Rules) Adds() bool {
	isSome := func(l link) bool { return !l.impairment.IsZero() }
	return slices.ContainsFunc(r.links, isSome) || !r.same.IsZero() || !r.other.IsZero()
}

// Unused says of each link between zones of which one has no pods that it is about nobody.
func (r *Rules) Unused(z Zones) []string {
	if r.profile != nil {
		return nil
	}
	var all []string
	for _, l := range r.links {
		for _, name := range l.between {
			if len(z.Pods(name)) == 0 {
				all = append(all, fmt.Sprintf("no pod is in zone %s of %s", name, l.field))
				break
			}
		}
	}
	return bounded(all, "and of ", "more link")
}

// mostNamed is how many of a list are said.
const mostNamed = 4

// bounded returns the first of a list, and in some words how many more there are of a noun.
func bounded(all []string, words, noun string) []string {
	if more := len(all) - mostNamed; more > 0 {
		return append(all[:mostNamed:mostNamed], words+tidbcluster.Plural(more, noun))
	}
	return all
}
