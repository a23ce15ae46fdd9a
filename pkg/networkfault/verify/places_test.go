package verify_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/networkfault/verify"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Each pair of components and of zones is covered in either family, and each pod, also where a
// component has few pods. No agent has more than half of what it may have as long as the other
// one of a pair has less.
func TestEachPairOfPlacesIsCovered(t *testing.T) {
	each := func(replicas int) []part {
		return []part{{tidbcluster.PD, replicas}, {tidbcluster.TiKV, replicas}, {tidbcluster.TiDB, replicas}, {tidbcluster.TiFlash, replicas}}
	}
	for name, all := range map[string][]verify.Pod{
		"200 pods":                 manyPods(),
		"3 zones, by two families": zonedPods(3, 2, each(3)...),
		"5 zones":                  zonedPods(5, 1, each(5)...),
		"5 zones, 1 PD":            zonedPods(5, 1, part{tidbcluster.PD, 1}, part{tidbcluster.TiKV, 50}, part{tidbcluster.TiDB, 10}),
	} {
		compiled(t, all, between(all, time.Millisecond))
		plan := verify.New(all)
		if len(plan.Unseen) > 0 {
			t.Errorf("%s: not measured is %v", name, plan.Unseen)
		}
		byName := map[string]verify.Pod{}
		for _, p := range all {
			byName[p.Name] = p
		}
		places := func(a, b verify.Pod, v6 bool) string {
			one, other := fmt.Sprint(a.Component, a.Zone), fmt.Sprint(b.Component, b.Zone)
			return fmt.Sprint(min(one, other), " ", max(one, other), v6)
		}
		seen, load := map[string]bool{}, map[string]int{}
		for _, task := range plan.Tasks {
			seen[task.From], seen[task.To] = true, true
			seen[places(byName[task.From], byName[task.To], task.Addr.Is6())] = true
			load[task.From]++
		}
		for i, p := range all {
			for _, q := range all[:i] {
				for _, addr := range p.Addrs {
					if pair := places(p, q, addr.Is6()); !seen[pair] {
						t.Errorf("%s: %s is not measured", name, pair)
						seen[pair] = true
					}
				}
			}
			if !seen[p.Name] {
				t.Errorf("%s: %s is not measured", name, p.Name)
			}
		}
		rest := map[string]int{} // tasks that the other pod's agent could not have instead
		for _, task := range plan.Tasks {
			if load[task.To] >= verify.MaxTasks/2 {
				rest[task.From]++
			}
		}
		for pod, n := range load {
			if n > verify.MaxTasks || n > verify.MaxTasks/2+rest[pod] {
				t.Errorf("%s: %s has %d tasks, and the others of %d have less than half", name, pod, n, n-rest[pod])
			}
		}
	}
}
