package decide

import (
	"slices"

	"github.com/tidelay/tidelay/pkg/networkfault/compile"
)

// compileWithRoom compiles objects. What others hold for pods without an agent takes room from
// them: a fault for each zone of these. Pods that come so must end nothing. Where something that
// runs would be refused for that, the topology that runs is not for such pods.
func (d *decision) compileWithRoom(objects []*object) compile.Plan {
	plan := d.compile(objects)
	i := slices.IndexFunc(objects, func(o *object) bool { return o.isTopology() && o.isRunning() })
	ended := endedBy(plan, objects)
	if i < 0 || len(ended) == 0 || len(objects[i].bare) == 0 {
		return plan
	}
	ground := objects[i].asked.(*topologyAsked)
	whole, plans := ground.zones.Of, d.plans
	ground.zones.Of, d.plans = map[string]string{}, map[string]compile.Plan{}
	for pod, zone := range whole {
		if d.find(pod).Agent {
			ground.zones.Of[pod] = zone
		}
	}
	less := d.compile(objects)
	if len(endedBy(less, objects)) >= len(ended) { // that is not why
		ground.zones.Of, d.plans = whole, plans
		return plan
	}
	objects[i].notes = slices.Insert(objects[i].notes, 0, "nothing is between these and others: else "+ended[0].Problem)
	return less
}

// endedBy returns what a plan refuses of the objects that run.
func endedBy(plan compile.Plan, objects []*object) []compile.Refusal {
	return slices.DeleteFunc(slices.Clone(plan.Refused), func(r compile.Refusal) bool {
		return !slices.ContainsFunc(objects, func(o *object) bool { return o.key == r.Object && o.isRunning() })
	})
}
