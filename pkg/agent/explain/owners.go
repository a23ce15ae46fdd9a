package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Overlaps warns of packets that match one of the named faults and another one of
// the set, and meet the more precise of the two.
func Overlaps(faults []fault.Fault, names ...string) []string {
	all := []string{}
	for _, o := range fault.Overlaps(faults) {
		if slices.Contains(names, o.Loses) || slices.Contains(names, o.Takes) {
			all = append(all, fmt.Sprintf("fault %s takes packets away from fault %s, because it is more precise: such as %s",
				nameOf(faults, o.Takes), nameOf(faults, o.Loses), o.Packets))
		}
	}
	return all
}

// PutBack warns of each owner whose faults a change removed or changed, unless it
// was made for that owner; by is empty for a person's change.
func PutBack(before, after []fault.Fault, by string) []string {
	lost := make(map[string][]string) // names by owner
	for _, f := range before {
		now := fault.Find(after, f.Name)
		if f.Owner != "" && f.Owner != by && (now == nil || now.Owner != f.Owner || !now.SameEffect(f)) {
			lost[f.Owner] = append(lost[f.Owner], fmt.Sprintf("%q", f.Name))
		}
	}
	all := make([]string, 0, len(lost))
	for owner, names := range lost {
		all = append(all, fmt.Sprintf("owner %q will put back fault %s: end it where it was asked for", owner, strings.Join(names, ", ")))
	}
	slices.Sort(all)
	return all
}

// nameOf quotes the name of a fault, with its owner if it has one.
func nameOf(faults []fault.Fault, name string) string {
	if f := fault.Find(faults, name); f != nil && f.Owner != "" {
		return fmt.Sprintf("%q of owner %q", name, f.Owner)
	}
	return fmt.Sprintf("%q", name)
}
