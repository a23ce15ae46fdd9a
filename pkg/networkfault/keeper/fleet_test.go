package keeper

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
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
	// lost is what the kernels of agents have lost of what they hold.
	lost map[netip.Addr]string
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
		if f.lost[t.Addr] == one.Name && action == api.ActionKeep {
			action = api.ActionRestore
			delete(f.lost, t.Addr)
		}
		changes.Changes = append(changes.Changes, api.Change{Name: one.Name, Action: action})
		one.Owner, one.Duration, one.ExpiresAt = decide.Owner, "", time.Now().Add(life).Format(time.RFC3339Nano)
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
