package control

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Set is a set of faults with the forms of it that are stored and shown, so
// that each is made once for each change.
type Set struct {
	// Faults are sorted by name.
	Faults []fault.Fault
	// Wire has the same faults as the API shows them; never nil.
	Wire []api.Fault
	// Revision names the set by what its faults do and whose they are, and not by
	// how long they last. It is the entity tag of the set, quotes included (RFC
	// 9110, 8.8.3).
	Revision string
}

func newSet(faults []fault.Fault) Set {
	wire := fault.WireSet(faults)
	return Set{Faults: faults, Wire: wire, Revision: revision(wire)}
}

func revision(wire []api.Fault) string {
	lifeless := slices.Clone(wire)
	for i := range lifeless {
		lifeless[i].ExpiresAt = ""
	}
	content, err := json.Marshal(lifeless)
	if err != nil {
		return `"unknown"` // no float of a fault is infinite, so this never matches anything
	}
	sum := sha256.Sum256(content)
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}
