package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/safety"
)

// lookFor, to the next whole second, is for how long a start that is refused for the TidbCluster's
// health at the moment is judged again, before that holds. What is refused stays so until somebody
// changes it, and what is known of health is late: the cache by up to a second, and the
// TidbCluster's status, which TiDB Operator writes, by some seconds. A fault that is created right
// after the pods have become ready must not be refused for that. Whoever waits for a
// refusal should have it while he waits.
const lookFor = 10 * time.Second

// awaitHealth has a topology that is to start when the TidbCluster is ready, or to go on
// after a pause, wait as long as that would be refused for the moment, for what it does to
// packets too. Then it is not in force, and nothing that is conflicts with it, also where it
// has run before: what starts meanwhile goes on. Only what comes before it counts for it.
func (d *decision) awaitHealth(objects []*object) []*object {
	i := slices.IndexFunc(objects, func(o *object) bool { return o.waits() && !o.isRunning() })
	if i < 0 { // one topology at most is left
		return objects
	}
	o := objects[i]
	momentary := slices.DeleteFunc(d.broken(objects[:i+1])[o.key], func(r safety.Refusal) bool { return !r.Momentary })
	if len(momentary) == 0 {
		return objects
	}
	d.stop(o, v1alpha1.Pending, ReasonNotReady, withEnd(messageOf(momentary), "It starts when that is over."))
	return slices.Delete(objects, i, i+1)
}

// messageOf says which rules are broken.
func messageOf(rules []safety.Refusal) string {
	words := make([]string, 0, len(rules))
	for _, r := range rules {
		words = append(words, r.Message)
	}
	return strings.Join(words, " ")
}

// lookAgain has an object wait that breaks rules for the moment only, and reports whether
// it may still wait. The condition Safe is unknown meanwhile, and its time is that of the
// first look, so that it is known to the next controller too. When the clock has been set
// by more than lookFor, the object has waited.
func (d *decision) lookAgain(o *object, rules []safety.Refusal, message string) bool {
	if slices.ContainsFunc(rules, func(r safety.Refusal) bool { return !r.Momentary }) {
		return false
	}
	first := wholeSecond(d.Now)
	if safe := meta.FindStatusCondition(o.was.Conditions, v1alpha1.Safe); safe != nil && safe.Status == metav1.ConditionUnknown {
		first = safe.LastTransitionTime.Time
	}
	if d.Now.Sub(first).Abs() >= lookFor {
		return false
	}
	reason := string(rules[0].Rule)
	message = withEnd(message, fmt.Sprintf("It is looked at again, and refused if that is still so after %s.", lookFor))
	d.setStatus(o, v1alpha1.Safe, metav1.ConditionUnknown, reason, message)
	d.stop(o, v1alpha1.Pending, reason, message)
	d.comeBack(first.Add(lookFor))
	return true
}

// endLook takes the condition Safe from an object that does not wait any more for the
// reason in it, so that its time does not count for the next wait.
func (o *object) endLook() {
	safe := meta.FindStatusCondition(o.life.Conditions, v1alpha1.Safe)
	if safe != nil && safe.Status == metav1.ConditionUnknown && safe.Reason != o.life.Reason {
		meta.RemoveStatusCondition(&o.life.Conditions, v1alpha1.Safe)
	}
}
