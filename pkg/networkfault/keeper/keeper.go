package keeper

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// Target is an agent and what it is to hold.
type Target struct {
	Pod types.NamespacedName
	// UID is the pod's. Requests name it, so that a pod that has got the address of
	// another one is not changed.
	UID  types.UID
	Addr netip.Addr
	// Instance is another one each time the agent is started; empty if that is not known.
	// An agent that was started is asked at once, since it may have lost its faults.
	Instance string
	// Down is whether the agent is known not to run. What it holds is not known then, from
	// that moment on and until it has answered after it was started again.
	Down bool
	// MaxDuration is the pod's own cap on the life of a fault; 0 for none.
	MaxDuration time.Duration
	// IsOpen is whether the agent asks for no token, and so is sent none, as one that was
	// attached: whoever may attach containers could have made something else of it.
	IsOpen bool
	// Faults are what it is to hold of decide.Owner's; none for nothing.
	Faults []decide.Fault
}

// Agents asks agents.
type Agents interface {
	// Replace replaces the faults of decide.Owner at an agent by others, which are those of
	// the target that have not ended. The error is a *client.Error for an answer other
	// than 200, and a *net.OpError of "dial" if there was no connection.
	Replace(ctx context.Context, t Target, faults []api.Fault) (api.Changes, error)
}

// Options has the parts of a Keeper. All fields without a default are required.
type Options struct {
	Agents Agents
	// Changed is called when States says something else about an agent of a TidbCluster
	// than before. Neither it nor PutRight may block.
	Changed func(cluster types.NamespacedName)
	// PutRight is called when a renewal found that an agent did not hold what it had
	// confirmed, with what had to be changed.
	PutRight func(cluster types.NamespacedName, target Target, changes []api.Change)
	// Metrics is where the metrics are registered.
	Metrics prometheus.Registerer
	// Log receives a line when an agent begins to fail, when it does so no more, and when it
	// ended faults of an earlier controller; for debugging also when it has confirmed faults.
	Log logr.Logger
	// Parallel is how many requests there can be at once, at least 2; 64 by default.
	// Half of them are for agents that have not answered last time.
	Parallel int
	// Timeout is how long a request may take; 5 s by default.
	Timeout time.Duration
}

// Keeper keeps the faults of agents. Its methods can be called concurrently.
type Keeper struct {
	options Options
	metrics *metrics
	// retries bounds how often agents that fail are asked, all together.
	retries *rate.Limiter

	mu sync.Mutex
	// agents are those of each TidbCluster by the names of their pods.
	agents map[types.NamespacedName]map[string]*agent
	// lanes are nil until Run.
	lanes *lanes
}

// retriesPerSecond is the most requests to agents that failed. It is reached only if
// hundreds of them refuse connections, each of which takes no time.
const retriesPerSecond = 500

// New returns a Keeper. It fails if its metrics can't be registered.
func New(o Options) (*Keeper, error) {
	o.Parallel = max(cmp.Or(o.Parallel, 64), 2)
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	k := &Keeper{
		options: o,
		retries: rate.NewLimiter(retriesPerSecond, retriesPerSecond),
		agents:  map[types.NamespacedName]map[string]*agent{},
	}
	var err error
	if k.metrics, err = newMetrics(o.Metrics, k.outOfStep); err != nil {
		return nil, fmt.Errorf("register metrics of the keeper: %w", err)
	}
	return k, nil
}

// Set says what the agents of a TidbCluster are to hold: all of its agents, and none
// for a TidbCluster that is gone. An agent that is missing is forgotten and not asked
// any more. One that has confirmed the same before is not asked either. Set does not
// wait for agents, and can be called before Run. The faults must not be changed
// afterwards.
func (k *Keeper) Set(cluster types.NamespacedName, targets []Target) {
	if k.set(cluster, targets, time.Now()) {
		k.options.Changed(cluster)
	}
}

// set is Set, and reports whether States says something else now.
func (k *Keeper) set(cluster types.NamespacedName, targets []Target, now time.Time) (changed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	agents := k.agents[cluster]
	if agents == nil {
		agents = make(map[string]*agent, len(targets))
		k.agents[cluster] = agents
	}
	asked := make(map[string]bool, len(targets))
	for _, t := range targets {
		asked[t.Pod.Name] = true
		a := agents[t.Pod.Name]
		if a == nil {
			a = &agent{cluster: cluster, pod: t.Pod}
			agents[t.Pod.Name] = a
		}
		if a.aim(t, now) {
			changed = a.settle(now).isSome() || changed
			k.schedule(a, now)
		}
	}
	for name, a := range agents {
		if !asked[name] {
			a.leave()
			k.forgetIfGone(a)
		}
	}
	if len(agents) == 0 {
		delete(k.agents, cluster)
	}
	return changed
}

// Doubt has the faults of the agents of some pods renewed at once, since something says that
// they are not there. An agent that was asked in the last 10 s is asked when these are over.
// Doubt does not wait for agents.
func (k *Keeper) Doubt(cluster types.NamespacedName, pods ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	for _, pod := range pods {
		if a := k.agents[cluster][pod]; a != nil {
			a.doubt(now)
			k.schedule(a, now)
		}
	}
}

// forgetIfGone drops an agent that is to be forgotten, once no request to it is in
// flight.
func (k *Keeper) forgetIfGone(a *agent) {
	if a.target != nil || a.flight != nil {
		return
	}
	delete(k.agents[a.cluster], a.pod.Name)
	if len(k.agents[a.cluster]) == 0 {
		delete(k.agents, a.cluster)
	}
}

// States returns what is known of the agents of a TidbCluster, by the UIDs of their pods.
func (k *Keeper) States(cluster types.NamespacedName) map[types.UID]decide.AgentState {
	k.mu.Lock()
	defer k.mu.Unlock()
	states := make(map[types.UID]decide.AgentState, len(k.agents[cluster]))
	for _, a := range k.agents[cluster] {
		if a.target != nil {
			states[a.target.UID] = a.state
		}
	}
	return states
}

// outOfStep counts the agents with faults, or to be rid of some, that have not confirmed
// what they are to hold, or not when they were asked last.
func (k *Keeper) outOfStep() float64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	count := 0
	for _, agents := range k.agents {
		for _, a := range agents {
			if a.isOutOfStep() {
				count++
			}
		}
	}
	return float64(count)
}
