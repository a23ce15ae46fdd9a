package report

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/plugin/object"
)

// Object is a fault or a topology.
type Object struct {
	Kind     string          `json:"kind"`
	Name     string          `json:"name"`
	What     string          `json:"what,omitempty"`
	Phase    v1alpha1.Phase  `json:"phase,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Message  string          `json:"message,omitempty"`
	Applied  string          `json:"applied,omitempty"`
	Verified string          `json:"verified,omitempty"`
	Ends     *metav1.Time    `json:"ends,omitempty"`
	Pairs    []v1alpha1.Pair `json:"pairs,omitempty"`
	// Waits is since when it waits for the controller to look at it; null if it does not wait,
	// or if that is not known.
	Waits *metav1.Time `json:"waitsForControllerSince,omitempty"`
	// untilDeleted is whether it has started and has no end.
	untilDeleted bool
}

func objectOf(o client.Object) Object {
	life := object.Life(o)
	one := Object{
		Kind: object.Kind(o), Name: o.GetName(), What: life.What, Phase: life.Phase, Reason: life.Reason, Message: life.Message,
		Applied: life.Applied, Verified: life.Verified, Ends: life.ExpiresAt, Pairs: life.Pairs,
		untilDeleted: life.StartedAt != nil && life.ExpiresAt == nil,
	}
	switch {
	case one.Phase == "":
		one.Phase, one.Message = v1alpha1.Pending, "the controller has not seen it yet"
		one.Waits = changedAt(o)
	case life.ObservedGeneration < o.GetGeneration():
		one.Message = "the controller has not seen its last change yet"
		one.Waits = changedAt(o)
	case one.Phase == v1alpha1.Running && life.What == "":
		one.Message = "its status does not say what it does: the controller or its CRDs are older than this plugin"
	}
	if c := meta.FindStatusCondition(life.Conditions, v1alpha1.Verified); c != nil && c.Status == metav1.ConditionFalse && one.Phase == v1alpha1.Running {
		one.Message = strings.TrimPrefix(one.Message+"; "+c.Message, "; ")
	}
	return one
}

// changedAt returns when the spec of an object was written last; nil if that is not known.
func changedAt(o client.Object) *metav1.Time {
	at := o.GetCreationTimestamp()
	for _, f := range o.GetManagedFields() {
		if f.Subresource == "" && f.Time != nil && f.Time.After(at.Time) {
			at = *f.Time
		}
	}
	if at.IsZero() {
		return nil
	}
	return &at
}

// left says how much time is left.
func (o *Object) left(now time.Time) string {
	switch {
	case o.Phase != v1alpha1.Running && o.Phase != v1alpha1.Paused:
		return "-"
	case o.untilDeleted:
		return "until deleted"
	case o.Ends == nil:
		return "-"
	default:
		return lasts(o.Ends.Sub(now))
	}
}

// lasts says how long something lasts yet: "2m5s", "1h59m", "2h", "26h", "30d".
func lasts(d time.Duration) string {
	if d >= 10*time.Minute && d < 24*time.Hour {
		return object.Short(d.Truncate(time.Minute))
	}
	return duration.HumanDuration(max(d, 0))
}

// patience is how long the controller may take for an object before that is told. It takes a
// second.
const patience = 10 * time.Second

// message says what is not as it should be; empty for nothing.
func (o *Object) message(now time.Time) string {
	if o.Waits != nil {
		if waits := now.Sub(o.Waits.Time); waits > patience {
			return "no controller has looked at it for " + duration.HumanDuration(waits)
		}
	}
	if o.Phase == v1alpha1.Running && o.Ends != nil {
		if over := now.Sub(o.Ends.Time); over > patience {
			return "its time is over, and no controller has said so for " + duration.HumanDuration(over)
		}
	}
	if o.Message == "" || o.Reason == decide.ReasonApplied { // what else is to be said is not about that
		return o.Message
	}
	return strings.TrimPrefix(o.Reason+": "+o.Message, ": ")
}
