package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// step is what a change does to one fault.
type step struct {
	name, action string
	// fault is what then holds; nil when it is removed.
	fault *fault.Fault
}

// steps lists what lies between two sets, by name. Both are sorted.
func steps(before, after []fault.Fault) []step {
	var all []step
	for i, f := range after {
		action := api.ActionAdd
		if old := slices.IndexFunc(before, func(b fault.Fault) bool { return b.Name == f.Name }); old >= 0 {
			action = api.ActionChange
			if before[old].Equal(f) {
				action = api.ActionKeep
			}
		}
		all = append(all, step{name: f.Name, action: action, fault: &after[i]})
	}
	for _, f := range before {
		if !slices.ContainsFunc(after, func(a fault.Fault) bool { return a.Name == f.Name }) {
			all = append(all, step{name: f.Name, action: api.ActionRemove})
		}
	}
	slices.SortFunc(all, func(a, b step) int { return strings.Compare(a.name, b.name) })
	return all
}

// revision names a set by its content: two sets have the same revision when
// they are equal. It is the entity tag of the set, quotes included (RFC 9110,
// 8.8.3).
func revision(faults []fault.Fault) string {
	content, err := json.Marshal(fault.WireSet(faults))
	if err != nil {
		return `"unknown"` // no float of a fault is infinite, so this never matches anything
	}
	sum := sha256.Sum256(content)
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}
