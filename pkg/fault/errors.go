package fault

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

var (
	// ErrForeign reports kernel state on the pod's interface that somebody else
	// made and that a fault would destroy. It is never touched.
	ErrForeign = errors.New("made by somebody else")
	// ErrUnsupported reports that this kernel or container lacks what an engine
	// needs.
	ErrUnsupported = errors.New("not supported here")
	// ErrLeftover reports faults of an earlier agent in the kernel that nothing
	// explains: its state file is gone.
	ErrLeftover = errors.New("left by an earlier agent and not in its state file")
)

// Invalid is every bad value of a request.
type Invalid []api.FieldError

// Error implements error. The first few say enough; Problem.errors has all.
func (i Invalid) Error() string {
	const shown = 3
	var all []string
	for _, e := range i[:min(len(i), shown)] {
		all = append(all, e.Error())
	}
	if len(i) > shown {
		all = append(all, fmt.Sprintf("and %d more", len(i)-shown))
	}
	return strings.Join(all, "; ")
}

// Conflict reports two faults that would meet the same packets, where one
// packet meets one fault.
type Conflict struct {
	// A and B are the names of the faults; Packets says in words what both match.
	A, B, Packets string
}

// Error implements error.
func (c Conflict) Error() string {
	return fmt.Sprintf("faults %q and %q both match %s just as precisely, and a packet meets one fault: give them one name, or a different match", c.A, c.B, c.Packets)
}

// Feature is something that not every engine and kernel can do.
type Feature string

// The features that engines report as lacking.
const (
	FeatureIngress         Feature = "ingress"
	FeatureDuplicate       Feature = "duplicate"
	FeatureDuplicateBeside Feature = "duplicate beside other faults"
	FeatureCorrupt         Feature = "corrupt"
	FeatureSeed            Feature = "seed"
	FeatureRate            Feature = "rate"
)

// Features returns what a set of faults needs.
func Features(faults []Fault) map[Feature]string {
	needs := make(map[Feature]string) // with the name of one fault that does
	for _, f := range faults {
		i := f.Impairment
		for feature, needed := range map[Feature]bool{
			FeatureIngress:         f.Match.Direction.Has(Ingress),
			FeatureDuplicate:       i.Duplicate != nil,
			FeatureDuplicateBeside: i.Duplicate != nil && len(faults) > 1,
			FeatureCorrupt:         i.Corrupt != nil,
			FeatureSeed:            i.Seed != nil,
			FeatureRate:            i.Rate != nil,
		} {
			if needed {
				needs[feature] = f.Name
			}
		}
	}
	return needs
}

// Check returns an error that wraps ErrUnsupported and names the feature and
// the fault, when the faults need something that is lacking. Lacks gives the
// reason by feature.
func Check(faults []Fault, lacks map[Feature]string) error {
	var errs []error
	needs := Features(faults)
	for _, feature := range slices.Sorted(maps.Keys(needs)) {
		if reason, lacking := lacks[feature]; lacking {
			errs = append(errs, fmt.Errorf("fault %q: %s is %w: %s", needs[feature], feature, ErrUnsupported, reason))
		}
	}
	return errors.Join(errs...)
}
