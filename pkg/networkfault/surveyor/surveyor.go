package surveyor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

// Bounds of what is measured.
const (
	// PerMinute is how often an agent measures, or tells its counters, within a minute at most.
	PerMinute = 8
	// perSecond is how many measurements begin within a second at most.
	perSecond = 50
	// parallel is how many there can be at once.
	parallel = 64
	// perCluster is how many of these may be of one TidbCluster, so that the others do not wait
	// while its agents take long; another one is tried recheck later.
	perCluster = 16
	recheck    = 500 * time.Millisecond
	// minute is the time within which there are PerMinute measurements of an agent. Of those,
	// the first may reach it late, and the last one at once.
	minute = time.Minute + connectTime
	// pause is the least time between the beginnings of two measurements of an agent, but for
	// quick pairs a minute that were never measured: these follow one another at once, so that
	// what was just asked for is known soon. The others are left for what is asked for next.
	pause = (minute + PerMinute - 1) / PerMinute
	quick = PerMinute / 2
	// rest is the least time from the end of one to the beginning of the next, in which people
	// can have the agent measure. After a long one it is as long as that was.
	rest = 2 * time.Second
	// turn is the least time between them once all pairs are right, or not known.
	turn = 20 * time.Second
)

// Target is the agent of a pod.
type Target struct {
	Pod  types.NamespacedName
	UID  types.UID // the pod's
	Addr netip.Addr
	// IsOpen is whether the agent asks for no token, and so is sent none.
	IsOpen bool
}

// Assignment is what one agent is to measure.
type Assignment struct {
	Target
	Tasks []verify.Task
}

// Agents asks agents.
type Agents interface {
	// Measure has an agent measure. The error is a *client.Error for an answer other than
	// 200.
	Measure(ctx context.Context, t Target, m api.Measure) (api.Measurements, error)
	// Status reads what an agent has counted. The error is as that of Measure.
	Status(ctx context.Context, t Target) (api.Status, error)
}

// Options has the parts of a Surveyor. All fields are required.
type Options struct {
	Agents Agents
	// Changed is called when what is to be told of a TidbCluster is something else than
	// before. It must not block.
	Changed func(cluster types.NamespacedName)
	// Doubt is called when something else is found than asked for of pods that were right, or
	// not known, so that their agents may have lost their faults. It must not block.
	Doubt func(cluster types.NamespacedName, pods ...string)
	// Metrics is where the metrics are registered.
	Metrics prometheus.Registerer
	// Log receives a line when a pair or a counter is found to be wrong, and when it is right
	// again.
	Log logr.Logger
}

// Surveyor has agents measure, and reads what they count. Its methods can be called concurrently.
type Surveyor struct {
	options Options
	metrics *metrics
	limit   *rate.Limiter

	mu       sync.Mutex
	clusters map[types.NamespacedName]map[types.UID]*agent
	count    int // agents
	// queue has the agents that something is to be done about; nil until Run.
	queue workqueue.TypedDelayingInterface[*agent]
	// opens is when the first measurement may begin. Another replica may have led a moment
	// ago, and agents have measured for it.
	opens time.Time
}

// New returns a Surveyor. It fails if its metrics can't be registered.
func New(o Options) (*Surveyor, error) {
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("register metrics of the surveyor: %w", err)
	}
	return &Surveyor{
		options: o, metrics: m, limit: rate.NewLimiter(perSecond, 1),
		clusters: map[types.NamespacedName]map[types.UID]*agent{},
	}, nil
}

// Set says what the agents of a TidbCluster are to measure: none for a TidbCluster that is
// gone. What is known of a task stays as long as its Check is the same and its pod is. Set
// does not wait, and can be called before Run.
func (s *Surveyor) Set(cluster types.NamespacedName, all []Assignment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, agents := time.Now(), s.clusters[cluster]
	if agents == nil {
		if len(all) == 0 {
			return
		}
		agents = make(map[types.UID]*agent, len(all))
		s.clusters[cluster] = agents
	}
	asked := make(map[types.UID]bool, len(all))
	for _, one := range all {
		asked[one.UID] = true
		a := agents[one.UID]
		if a == nil {
			a = &agent{cluster: cluster}
			agents[one.UID] = a
			s.count++
		}
		a.assign(one)
		s.schedule(a, now)
	}
	for uid, a := range agents {
		if !asked[uid] {
			a.assign(Assignment{Target: a.target})
			s.forget(a, now)
		}
	}
	s.metrics.show(cluster, s.clusters[cluster])
}

// PutRight says that the agent of a pod did not hold its faults, and does now. What was found
// to be wrong with that pod was so by that, and is looked at again first.
func (s *Surveyor) PutRight(cluster types.NamespacedName, pod string) {
	if s.putRight(cluster, pod, time.Now()) {
		s.options.Changed(cluster)
	}
}

// putRight is PutRight, and reports whether something was wrong.
func (s *Surveyor) putRight(cluster types.NamespacedName, pod string, now time.Time) (wasWrong bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.clusters[cluster] {
		for _, t := range a.tasks {
			if slices.Contains(t.pods(), pod) {
				wasWrong = wasWrong || t.state.Verdict == verify.Wrong
				t.state.Forget()
				t.isStale, t.before = true, nil
			}
		}
		s.schedule(a, now)
	}
	s.metrics.show(cluster, s.clusters[cluster])
	return wasWrong
}

// forget drops an agent without tasks, once it does not matter any more how often it has
// measured: it may get some before. It is looked at once more then.
func (s *Surveyor) forget(a *agent, now time.Time) {
	if len(a.tasks) > 0 || a.isBusy {
		return
	}
	if wait := latest(a.rests, a.began.Add(minute)).Sub(now); wait > 0 {
		if s.queue != nil {
			s.queue.AddAfter(a, wait)
		}
		return
	}
	agents := s.clusters[a.cluster]
	if agents[a.target.UID] == a {
		delete(agents, a.target.UID)
		s.count--
	}
	if len(agents) == 0 {
		delete(s.clusters, a.cluster)
	}
}

// Verdicts returns what is known of the pairs and counters of a TidbCluster, in a fixed order.
func (s *Surveyor) Verdicts(cluster types.NamespacedName) []verify.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []verify.Result
	for _, a := range s.clusters[cluster] {
		for _, t := range a.tasks {
			all = append(all, verify.Result{Task: t.Task, State: t.state})
		}
	}
	slices.SortFunc(all, func(a, b verify.Result) int { return a.Compare(&b.Check) })
	return all
}
