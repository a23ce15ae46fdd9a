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
	// ErrForeign reports kernel state that somebody else made and that a fault
	// would destroy. It is left alone.
	ErrForeign = errors.New("made by somebody else")
	// ErrOtherOwner reports a fault that is set for one owner and belongs to
	// another one.
	ErrOtherOwner = errors.New("belongs to another owner")
	// ErrUnsupported reports that this kernel or container lacks something that an
	// engine or a fault needs.
	ErrUnsupported = errors.New("not supported here")
	// ErrLeftover reports faults of an earlier agent in the kernel that can't be
	// read back without its state file, which is gone.
	ErrLeftover = errors.New("left by an earlier agent and not in its state file")
)

// Invalid is every bad value of a request, or the first 20.
type Invalid []api.FieldError

// Error implements error. It has the first three; api.Problem.Errors has all.
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

// mostErrors is how many bad values one answer lists. A body can have thousands.
const mostErrors = 20

// add adds a bad value, if there are not too many already.
func (i *Invalid) add(field, value, accepted string) {
	if len(*i) < mostErrors {
		*i = append(*i, api.FieldError{Field: field, Value: api.Shorten(value), Accepted: accepted})
	}
}

// err returns nil if there is no bad value.
func (i Invalid) err() error {
	if len(i) == 0 {
		return nil
	}
	return i
}

// Conflict reports two faults that match the same packets just as precisely, so
// that nothing says which of them those packets meet.
type Conflict struct {
	// A and B are the names of the faults. Packets says in words what both match.
	A, B, Packets string
}

// Error implements error.
func (c Conflict) Error() string {
	return fmt.Sprintf("faults %q and %q both match %s just as precisely, and a packet meets one fault: give them one name, or a different match", c.A, c.B, c.Packets)
}

// Feature is a part of faults that some engines or kernels don't have. Its value
// is what the API's status shows.
type Feature string

// The features.
const (
	// FeatureIngress is a fault of packets that arrive. netem needs the kernel's
	// ifb and the ingress qdisc for it.
	FeatureIngress Feature = "ingress"
	// FeatureDuplicate is Impairment.Duplicate.
	FeatureDuplicate Feature = "duplicate"
	// FeatureDuplicateBeside is Impairment.Duplicate in a set of several faults.
	// Some kernels refuse a netem that duplicates beside another one in the same
	// tree (check_netem_in_tree in net/sched/sch_netem.c).
	FeatureDuplicateBeside Feature = "duplicate beside other faults"
	// FeatureCorrupt is Impairment.Corrupt. nfqueue never sees what is in packets.
	FeatureCorrupt Feature = "corrupt"
	// FeatureSeed is Impairment.Seed. netem has it since Linux 6.6
	// (TCA_NETEM_PRNG_SEED).
	FeatureSeed Feature = "seed"
	// FeatureRate is Impairment.Rate.
	FeatureRate Feature = "rate"
)

// Features returns the features that a set of faults needs, each with the name of
// one fault that needs it.
func Features(faults []Fault) map[Feature]string {
	needs := make(map[Feature]string)
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

// Check returns an error that wraps ErrUnsupported and names fault and feature if
// the faults need one that is in lacks. Lacks has the reason for each feature that
// is missing.
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
