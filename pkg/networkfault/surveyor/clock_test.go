package surveyor

import (
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// A step of the controller's clock makes no agent rest for hours, and no rate seem to be another
// one: every time that is kept has a reading of the monotonic clock beside that of the wall. A
// bubble's times have none, so this test is in none.
func TestAClockThatSteps(t *testing.T) {
	f := &fleet{began: map[types.UID][]time.Time{}}
	s, err := New(Options{Agents: f, Metrics: prometheus.NewRegistry(), Log: logr.Discard(), Changed: func(types.NamespacedName) {}})
	if err != nil {
		t.Fatal(err)
	}
	f.count(api.Counters{}, api.Counters{Packets: 20000, Dropped: 200})
	s.Set(basic, []Assignment{counters(1)})
	a := s.clusters[basic]["uid-0"]
	tasks, target, check := s.begin(a)
	if len(tasks) != 1 {
		t.Fatalf("%d tasks are due", len(tasks))
	}
	s.end(a, tasks, s.ask(t.Context(), target, check))
	for name, at := range map[string]time.Time{
		"began": a.began, "rests": a.rests, "the task began": tasks[0].began, "the reading began": tasks[0].before.Began, "the reading ended": tasks[0].before.Ended,
	} {
		if !strings.Contains(at.String(), " m=") {
			t.Errorf("%s at %s, by the wall clock alone", name, at)
		}
	}
}
