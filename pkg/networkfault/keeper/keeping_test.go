package keeper

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
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
	f := &fleet{holds: map[netip.Addr]map[string]kept{}, nowAt: map[netip.Addr]int{}, mostAt: map[netip.Addr]int{}, lost: map[netip.Addr]string{}}
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
		Log:     funcr.New(func(_, args string) { locked(func() { f.logged = append(f.logged, args) }) }, funcr.Options{Verbosity: 1}),
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

// say writes a state: "holds a b; failed: WHY; refused a", or "holds; silent: WHY",
// or "holds; down: WHY".
func say(s decide.AgentState) string {
	text := "holds"
	for _, f := range s.Holds {
		text += " " + f.Name + "=" + f.Impairment.Delay.String()
	}
	switch {
	case s.Silent:
		text += "; silent: " + s.Failed
	case s.Down:
		text += "; down: " + s.Failed
	case s.Failed != "":
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
