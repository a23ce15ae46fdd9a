package surveyor

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// A few TidbClusters with many agents that take long do not hold up another one.
func TestSlowClusters(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		f.slow = "slow"
		for c := range 3 {
			var all []Assignment
			for a := range 200 {
				one := assignment(c*200+a, 8)
				one.Pod.Name = "slow-" + one.Pod.Name
				all = append(all, one)
			}
			s.Set(types.NamespacedName{Namespace: "slow", Name: fmt.Sprint(c)}, all)
		}
		pass(time.Minute)
		s.Set(basic, []Assignment{assignment(1000, 1)})
		pass(3 * time.Second)
		if got := verdicts(s); got != "r" {
			t.Errorf("%s after 3s", got)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.most > 3*perCluster+1 {
			t.Errorf("%d measure at once", f.most)
		}
	})
}

// Neither tasks that come and go nor pods that do so have an agent measure more often.
func TestComingAndGoing(t *testing.T) {
	run(t, func(s *Surveyor, _ *fleet) {
		for i := range 200 {
			if i%3 == 2 {
				s.Set(basic, nil)
			} else {
				s.Set(basic, []Assignment{assignment(0, 1+i%4), assignment(1, 1)})
			}
			pass(700 * time.Millisecond)
		}
		s.Set(basic, nil)
		pass(minute)
		if len(s.clusters) > 0 || s.count != 0 {
			t.Errorf("%d clusters and %d agents are remembered", len(s.clusters), s.count)
		}
	})
}

// Of a thousand TidbClusters each pair is measured, and a new pair does not wait for the
// turns of the others.
func TestAThousandClusters(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		const clusters, agents = 1000, 10
		for c := range clusters {
			var all []Assignment
			for a := range agents {
				all = append(all, assignment(c*agents+a, 1))
			}
			s.Set(types.NamespacedName{Namespace: "many", Name: fmt.Sprint(c)}, all)
		}
		pass(5 * time.Minute)
		if _, n, _ := f.measured(""); n != clusters*agents {
			t.Errorf("%d of %d agents have measured", n, clusters*agents)
		}
		pass(10 * time.Minute)
		s.Set(basic, []Assignment{assignment(clusters*agents, 1)})
		pass(3 * time.Second)
		if got := verdicts(s); got != "r" {
			t.Errorf("a new pair is %s after 3s", got)
		}
	})
}
