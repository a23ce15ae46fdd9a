package keeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// fleet is made-up agents, by their addresses, which hold faults until their lives are
// over as real ones do.
type fleet struct {
	mu sync.Mutex
	// holds has the faults of each agent and when they end.
	holds map[netip.Addr]map[string]kept
	// answer answers instead of an agent if it returns true; nil for never.
	answer answer
	asked  []asked
	// nowAt and mostAt are how many requests there are at once to each agent, and were.
	nowAt, mostAt map[netip.Addr]int
	seen
}

// seen is what can be seen of a Keeper.
type seen struct {
	// now and most are how many requests there are at once, and were.
	now, most int
	changed   []types.NamespacedName
	putRight  []string
	logged    []string
}

// saw returns what was seen until now.
func (f *fleet) saw() seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	return seen{f.now, f.most, slices.Clone(f.changed), slices.Clone(f.putRight), slices.Clone(f.logged)}
}

type answer func(ctx context.Context, t Target, faults []api.Fault) (api.Changes, error, bool)

type kept struct {
	api.Fault
	until time.Time
}

// asked is a request.
type asked struct {
	at time.Time
	Target
	faults []api.Fault
}

var (
	errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	cluster    = types.NamespacedName{Namespace: "shop", Name: "basic"}
)

func (f *fleet) Replace(ctx context.Context, t Target, faults []api.Fault) (api.Changes, error) {
	answer := f.begin(t, faults)
	defer f.end(t)
	if answer != nil {
		if changes, err, is := answer(ctx, t, faults); is {
			return changes, err
		}
	}
	return f.replace(t, faults), ctx.Err()
}

// begin notes a request, and returns how it is answered.
func (f *fleet) begin(t Target, faults []api.Fault) answer {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, asked{time.Now(), t, faults})
	f.now++
	f.most = max(f.most, f.now)
	f.nowAt[t.Addr]++
	f.mostAt[t.Addr] = max(f.mostAt[t.Addr], f.nowAt[t.Addr])
	return f.answer
}

func (f *fleet) end(t Target) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now--
	f.nowAt[t.Addr]--
}

// replace does what an agent does.
func (f *fleet) replace(t Target, faults []api.Fault) api.Changes {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.live(t.Addr)
	after, changes := map[string]kept{}, api.Changes{Applied: true}
	for _, one := range faults {
		life, err := fault.ParseDuration(one.Duration)
		if err != nil || t.MaxDuration > 0 && life > t.MaxDuration {
			panic(fmt.Sprintf("a life of %q with a cap of %s: %v", one.Duration, t.MaxDuration, err))
		}
		action, old := api.ActionAdd, before[one.Name]
		if old.Name != "" {
			action = api.ActionChange
			if isSame(old.Fault, one) {
				action = api.ActionKeep
			}
		}
		changes.Changes = append(changes.Changes, api.Change{Name: one.Name, Action: action})
		one.Owner, one.Duration, one.ExpiresAt = Owner, "", time.Now().Add(life).Format(time.RFC3339Nano)
		after[one.Name] = kept{one, time.Now().Add(life)}
		changes.Faults = append(changes.Faults, one)
	}
	for name := range before {
		if _, kept := after[name]; !kept {
			changes.Changes = append(changes.Changes, api.Change{Name: name, Action: api.ActionRemove})
		}
	}
	changes.Faults = append(changes.Faults, api.Fault{Name: "hand", Delay: "1ms", Direction: "egress"})
	f.holds[t.Addr] = after
	return changes
}

// live returns what an agent holds now. The mutex must be held.
func (f *fleet) live(addr netip.Addr) map[string]kept {
	live := map[string]kept{}
	for name, h := range f.holds[addr] {
		if h.until.After(time.Now()) {
			live[name] = h
		}
	}
	return live
}

// held returns what an agent holds now: "a=20ms b=1ms".
func (f *fleet) held(addr string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for name, h := range f.live(netip.MustParseAddr(addr)) {
		all = append(all, name+"="+h.Delay)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// take returns the requests since it was called last.
func (f *fleet) take() []asked {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.asked
	f.asked = nil
	return all
}

// respond sets how agents answer; nil for as they do.
func (f *fleet) respond(a answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = a
}

// fail has agents fail.
func (f *fleet) fail(err error) {
	f.respond(func(context.Context, Target, []api.Fault) (api.Changes, error, bool) { return api.Changes{}, err, true })
}

// hang has agents not answer.
func (f *fleet) hang() {
	f.respond(func(ctx context.Context, _ Target, _ []api.Fault) (api.Changes, error, bool) {
		<-ctx.Done()
		return api.Changes{}, fmt.Errorf("PUT /v1/faults: %w", ctx.Err()), true
	})
}

// keeping runs a test with a Keeper that runs, in a bubble of synctest.
func keeping(t *testing.T, test func(t *testing.T, k *Keeper, f *fleet), changes ...func(*Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k, f := newKeeper(t, changes...)
		stop := run(t, k)
		test(t, k, f)
		stop()
		for addr, most := range f.mostAt {
			if most > 1 {
				t.Errorf("%d requests to %s at once", most, addr)
			}
		}
	})
}

func newKeeper(t testing.TB, changes ...func(*Options)) (*Keeper, *fleet) {
	t.Helper()
	f := &fleet{holds: map[netip.Addr]map[string]kept{}, nowAt: map[netip.Addr]int{}, mostAt: map[netip.Addr]int{}}
	locked := func(do func()) {
		f.mu.Lock()
		defer f.mu.Unlock()
		do()
	}
	o := Options{
		Agents:  f,
		Changed: func(c types.NamespacedName) { locked(func() { f.changed = append(f.changed, c) }) },
		PutRight: func(_ types.NamespacedName, target Target, changes []api.Change) {
			var all []string
			for _, c := range changes {
				all = append(all, c.Name+" "+c.Action)
			}
			slices.Sort(all)
			locked(func() { f.putRight = append(f.putRight, target.Pod.Name+": "+strings.Join(all, ", ")) })
		},
		Metrics: prometheus.NewPedanticRegistry(),
		Log:     funcr.New(func(_, args string) { locked(func() { f.logged = append(f.logged, args) }) }, funcr.Options{}),
	}
	for _, change := range changes {
		change(&o)
	}
	k, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return k, f
}

// run runs a Keeper until the function that it returns is called.
func run(t testing.TB, k *Keeper) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error)
	go func() { over <- k.Run(ctx) }()
	return func() {
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	}
}

// target is a target of pod "p-N" at 10.0.0.N.
func target(n byte, faults ...decide.Fault) Target {
	return Target{
		Pod: types.NamespacedName{Namespace: cluster.Namespace, Name: fmt.Sprintf("p-%d", n)}, UID: types.UID(fmt.Sprintf("uid-%d", n)),
		Addr: netip.AddrFrom4([4]byte{10, 0, 0, n}), Faults: faults,
	}
}

// delay is a fault that delays packets to an address, of the objects, until an end.
func delay(name string, by time.Duration, end time.Time, objects ...string) decide.Fault {
	if len(objects) == 0 {
		objects = []string{name}
	}
	return decide.Fault{End: end, Fault: compile.Fault{Objects: objects, Fault: fault.Fault{
		Name:       name,
		Match:      fault.Match{Direction: fault.Egress, Peers: []netip.Prefix{netip.MustParsePrefix("10.0.1.1/32")}},
		Impairment: fault.Impairment{Delay: by},
	}}}
}

// say writes a state: "holds a b; failed: WHY; refused a".
func say(s decide.AgentState) string {
	text := "holds"
	for _, f := range s.Holds {
		text += " " + f.Name + "=" + f.Impairment.Delay.String()
	}
	if s.Failed != "" {
		text += "; failed: " + s.Failed
	}
	for i, f := range s.Refused {
		if i == 0 {
			text += "; refused"
		}
		text += " " + f.Name
	}
	return text
}

// statesOf returns what is known of the agents of a TidbCluster, by the names of their
// pods.
func statesOf(k *Keeper, cluster types.NamespacedName) map[string]decide.AgentState {
	states, byName := k.States(cluster), map[string]decide.AgentState{}
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, a := range k.agents[cluster] {
		if a.target == nil {
			continue
		}
		if state, ok := states[a.target.UID]; ok {
			byName[name] = state
		}
	}
	return byName
}

// wantState compares the state of pod "p-N".
func wantState(t *testing.T, k *Keeper, n int, want string) {
	t.Helper()
	if got := say(statesOf(k, cluster)[fmt.Sprintf("p-%d", n)]); got != want {
		t.Errorf("p-%d %s; want: %s", n, got, want)
	}
}

// problem is an answer of an agent.
func problem(status int, detail string, fields ...string) error {
	e := &client.Error{Problem: api.Problem{Type: "about:blank", Status: status, Detail: detail}}
	for _, f := range fields {
		e.Errors = append(e.Errors, api.FieldError{Field: f})
	}
	return fmt.Errorf("PUT /v1/faults: %w", e)
}

var errReset = errors.New("connection reset")
