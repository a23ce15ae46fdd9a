package object

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Action is what is done to have an object as it is asked for.
type Action string

// The actions.
const (
	// Create creates an object that is not there.
	Create Action = "create"
	// Change changes an object in place, which loses no packet.
	Change Action = "change"
	// Replace deletes an object that has ended, which can't be changed, or that was refused as it
	// is, and creates it again.
	Replace Action = "replace"
)

// Step is what has to be done to have an object as it is asked for.
type Step struct {
	Action Action
	// Before is the object that is there; nil if there is none.
	Before client.Object
	// After is what to write. Its status is that of the object that is changed.
	After client.Object
}

// After returns what steps write.
func After(steps []Step) []client.Object {
	all := make([]client.Object, 0, len(steps))
	for _, s := range steps {
		all = append(all, s.After)
	}
	return all
}

// Plan says what has to be done to have what is asked for. A duration counts from now, also
// that of an object that has started, whose own counts from its start. The error says that this
// is too long.
func Plan(asked Asked, now time.Time) (Step, error) {
	before, wanted := asked.Before, asked.Wanted
	if before == nil {
		return Step{Create, nil, wanted}, nil
	}
	life := Life(before)
	if life.Phase == v1alpha1.Ended {
		return Step{Replace, before, wanted}, nil
	}
	after := WithSpec(before, wanted)
	if length := duration(after); *length != "" && life.StartedAt != nil {
		left, err := fault.ParseDuration(string(*length))
		if err != nil {
			return Step{}, fmt.Errorf("duration %q: %w", *length, err)
		}
		total := (max(now.Sub(life.StartedAt.Time), 0) + left + time.Second - 1).Truncate(time.Second)
		if total > fault.MaxDuration {
			return Step{}, fmt.Errorf("%s %s started at %s, and would last longer than %s: clear it first", Kind(before), before.GetName(),
				life.StartedAt.UTC().Format("2006-01-02 15:04:05 UTC"), Short(fault.MaxDuration))
		}
		*length = v1alpha1.Duration(Short(total))
	}
	isRefused := life.Phase == v1alpha1.Refused && life.ObservedGeneration == before.GetGeneration()
	if isRefused && IsSame(before, after) { // it would stay refused without a change
		return Step{Replace, before, wanted}, nil
	}
	return Step{Change, before, after}, nil
}

// IsSame reports whether two objects of a kind ask for the same.
func IsSame(a, b client.Object) bool {
	return equality.Semantic.DeepEqual(WithSpec(a, a), WithSpec(a, b))
}

// Short writes a time without the units that are zero: "34m", "4m30s".
func Short(d time.Duration) string {
	text := d.String()
	if len(text) > 3 && text[len(text)-3:] == "m0s" {
		text = text[:len(text)-2]
	}
	if len(text) > 3 && text[len(text)-3:] == "h0m" {
		text = text[:len(text)-2]
	}
	return text
}
