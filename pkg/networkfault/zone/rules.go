package zone

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/profile"
	"github.com/tidelay/tidelay/pkg/networkfault/selector"
)

// Max is how many zones there can be.
const Max = 16

// Rules are a spec as it was understood. Parse makes them.
type Rules struct {
	// Exactly one of them says who is in which zone.
	key    string
	list   []listed // by name
	spread int
	// links are those of the spec or of the profile, and same and other the defaults within
	// a zone and between zones.
	links       []link
	same, other fault.Impairment
	profile     *profile.Profile
	worked      *worked // nil at first
}

// listed is a zone of a list.
type listed struct {
	name    string
	members []selector.Selector
}

// Parse reads a spec. What the custom resource definition lets through, and can't be meant
// whatever pods there are, is refused. The error names the field and is a *selector.Error
// where a selector is wrong.
func Parse(spec *v1alpha1.NetworkTopologySpec) (Rules, error) {
	r := Rules{key: spec.ZoneKey, spread: int(spec.Spread)}
	if len(spec.Zones) == 0 && r.spread == 0 {
		r.key = cmp.Or(r.key, corev1.LabelTopologyZone)
	}
	if r.spread < 0 || r.spread > Max {
		return Rules{}, fmt.Errorf("spec.spread %d: want 2 to %d zones", r.spread, Max)
	}
	if err := r.parseList(spec.Zones); err != nil {
		return Rules{}, err
	}
	if err := r.parseLinks(spec); err != nil {
		return Rules{}, err
	}
	if names := r.names(); len(names) > 0 { // else they are known with the pods
		if err := r.checkNames(names); err != nil {
			return Rules{}, err
		}
		if _, err := r.Links(names); err != nil {
			return Rules{}, err
		}
	}
	return r, nil
}

// parseList reads zones and their members.
func (r *Rules) parseList(zones []v1alpha1.Zone) error {
	for i, z := range zones {
		one := listed{name: string(z.Name)}
		if slices.ContainsFunc(r.list, func(other listed) bool { return other.name == one.name }) {
			return fmt.Errorf("spec.zones[%d].name %q: there is such a zone already; want each once", i, one.name)
		}
		for j, text := range z.Members {
			some, err := parseMember(string(text))
			if err != nil {
				return fmt.Errorf("spec.zones[%d].members[%d]: %w", i, j, err)
			}
			one.members = append(one.members, some...)
		}
		r.list = append(r.list, one)
	}
	slices.SortFunc(r.list, func(a, b listed) int { return strings.Compare(a.name, b.name) })
	return nil
}

// parseMember reads selectors that always mean the same pods, wherever they are.
func parseMember(text string) ([]selector.Selector, error) {
	some, err := selector.Parse(text)
	if err != nil {
		return nil, err
	}
	for _, s := range some {
		if s.Others || s.CIDR.IsValid() || s.Zone != "" || s.IsPinned() {
			return nil, &selector.Error{Text: text, Problem: fmt.Sprintf(
				"%s can't be in a zone: want members that stay the same, such as tikv, tikv(0), pod/NAME or all", s)}
		}
	}
	return some, nil
}

// names returns the zones of a list or of a spread; nil for those by label.
func (r *Rules) names() []string {
	var all []string
	for _, z := range r.list {
		all = append(all, z.name)
	}
	for i := range r.spread {
		all = append(all, string(rune('a'+i)))
	}
	return all
}

// checkNames refuses links of zones that can't be.
func (r *Rules) checkNames(names []string) error {
	if r.profile != nil {
		return nil
	}
	for _, l := range r.links {
		for _, name := range l.between {
			if !slices.Contains(names, name) {
				return fmt.Errorf("%s.between: there is no zone %s; want zones of %s", l.field, name, strings.Join(names, ", "))
			}
		}
	}
	return nil
}
