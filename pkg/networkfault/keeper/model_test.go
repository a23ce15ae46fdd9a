package keeper

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// Whatever happens to agents, targets and the clock: once all is quiet, every agent
// holds what it is to hold, and States says so. At any time States claims nothing that
// an agent does not hold, but for what somebody else took away since it was confirmed.
func TestAgentsHoldWhatTheyAreToHold(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			k, f := newKeeper(t, func(o *Options) { o.Parallel = 4 })
			m := model{k: k, f: f, targets: map[byte]Target{}, ways: map[netip.Addr]string{}, next: 100}
			f.answer = m.answer
			stop := run(t, k)
			for i := range rapid.IntRange(1, 25).Draw(r, "steps") {
				m.step(r, i)
				m.checkClaims(r)
			}
			f.mu.Lock()
			clear(m.ways)
			f.mu.Unlock()
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			m.checkAll(r)
			stop()
		})
	})
}

// model is what agents are to hold, and how they behave.
type model struct {
	k       *Keeper
	f       *fleet
	targets map[byte]Target
	ways    map[netip.Addr]string
	// next is the address of the next new pod.
	next byte
	// byHand is set once somebody else changed what an agent holds.
	byHand bool
}

// answer behaves as the agent does now.
func (m *model) answer(ctx context.Context, t Target, faults []api.Fault) (api.Changes, error, bool) {
	m.f.mu.Lock()
	way := m.ways[t.Addr]
	m.f.mu.Unlock()
	switch way {
	case "refuses the connection":
		return api.Changes{}, errRefused, true
	case "refuses":
		return api.Changes{}, problem(422, "not so"), true
	case "hangs":
		<-ctx.Done()
		return api.Changes{}, ctx.Err(), true
	case "does it and hangs":
		m.f.replace(t, faults)
		<-ctx.Done()
		return api.Changes{}, ctx.Err(), true
	case "is slow":
		select {
		case <-ctx.Done():
			return api.Changes{}, ctx.Err(), true
		case <-time.After(700 * time.Millisecond):
		}
	case "resets":
		return api.Changes{}, errReset, true
	case "lies":
		return api.Changes{}, nil, true
	}
	return api.Changes{}, nil, false
}

// step does something at random.
func (m *model) step(r *rapid.T, i int) {
	n := rapid.ByteRange(0, 3).Draw(r, "agent")
	t, known := m.targets[n]
	switch what := rapid.SampledFrom([]string{"target", "target", "pod", "gone", "way", "way", "lost", "wait", "wait"}).Draw(r, "what"); {
	case what == "wait":
		time.Sleep(time.Duration(rapid.IntRange(1, 400_000).Draw(r, "ms")) * time.Millisecond)
	case what == "target" || !known:
		if !known {
			t = target(n)
		}
		t.Faults = nil
		for j := range rapid.IntRange(0, 3).Draw(r, "faults") {
			t.Faults = append(t.Faults, delay(fmt.Sprintf("f%d", j), time.Duration(rapid.IntRange(1, 3).Draw(r, "delay"))*time.Millisecond, time.Time{}))
		}
		m.targets[n] = t
	case what == "pod":
		m.next++
		t.Addr, t.UID = target(m.next).Addr, target(m.next).UID
		m.targets[n] = t
	case what == "gone":
		delete(m.targets, n)
	case what == "way":
		m.f.mu.Lock()
		m.ways[t.Addr] = rapid.SampledFrom([]string{"", "refuses the connection", "refuses", "hangs", "does it and hangs", "is slow", "resets", "lies"}).Draw(r, "way")
		m.f.mu.Unlock()
	case what == "lost":
		m.f.mu.Lock()
		delete(m.f.holds, t.Addr)
		m.byHand = true
		m.f.mu.Unlock()
	}
	var all []Target
	for _, t := range m.targets {
		all = append(all, t)
	}
	m.k.Set(cluster, all)
	if i%2 == 0 {
		synctest.Wait()
	}
}

// checkClaims checks that agents hold what States says, where that can be known.
func (m *model) checkClaims(r *rapid.T) {
	if m.byHand {
		return
	}
	synctest.Wait()
	for n, t := range m.targets {
		m.f.mu.Lock()
		way, live := m.ways[t.Addr], m.f.live(t.Addr)
		m.f.mu.Unlock()
		if way == "does it and hangs" {
			continue // its answer is on its way
		}
		for _, claimed := range statesOf(m.k, cluster)[t.Pod.Name].Holds {
			if held := live[claimed.Name]; held.Delay != claimed.Wire().Delay {
				r.Fatalf("agent %d is said to hold %s=%s, and holds %q", n, claimed.Name, claimed.Impairment.Delay, held.Delay)
			}
		}
	}
}

// checkAll checks that all agents hold what they are to hold.
func (m *model) checkAll(r *rapid.T) {
	states := statesOf(m.k, cluster)
	if len(states) != len(m.targets) || m.k.outOfStep() != 0 {
		r.Fatalf("%d states of %d agents, %v out of step", len(states), len(m.targets), m.k.outOfStep())
	}
	for n, t := range m.targets {
		want := decide.AgentState{}
		text := ""
		for i, f := range t.Faults {
			want.Holds = append(want.Holds, f.Fault)
			if i > 0 {
				text += " "
			}
			text += f.Name + "=" + f.Impairment.Delay.String()
		}
		if got := m.f.held(t.Addr.String()); got != text {
			r.Fatalf("agent %d holds %q, want %q", n, got, text)
		}
		if got := say(states[t.Pod.Name]); got != say(want) {
			r.Fatalf("agent %d: %s, want %s", n, got, say(want))
		}
	}
	for addr, most := range m.f.mostAt {
		if most > 1 {
			r.Fatalf("%d requests to %s at once", most, addr)
		}
	}
}
