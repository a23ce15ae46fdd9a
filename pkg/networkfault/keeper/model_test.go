package keeper

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// Whatever happens to agents, targets and the clock: once all is quiet, every agent
// holds what it is to hold, and States says so. At any time States claims nothing that
// an agent does not hold, but for a time after it lost its faults: until that can be seen.
func TestAgentsHoldWhatTheyAreToHold(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		// All is drawn here and not in the bubble, whose goroutines rapid does not know.
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 25).Draw(r, "steps")
		var wrong error
		synctest.Test(t, func(t *testing.T) {
			k, f := newKeeper(t, func(o *Options) { o.Parallel = 4 })
			m := model{k: k, f: f, targets: map[byte]Target{}, ways: map[netip.Addr]string{}, lostAt: map[netip.Addr]time.Time{}, next: 100}
			f.answer = m.answer
			stop := run(t, k)
			defer stop()
			for _, s := range steps {
				m.do(s)
				if wrong = m.checkClaims(); wrong != nil {
					return
				}
			}
			f.mu.Lock()
			clear(m.ways)
			f.mu.Unlock()
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			wrong = m.checkAll()
		})
		if wrong != nil {
			r.Fatal(wrong)
		}
	})
}

// step is something that happens.
type step struct {
	what   string
	agent  byte
	way    string
	wait   time.Duration
	delays []int // of the faults of a target, in milliseconds
	settle bool  // until nothing goes on any more
}

func drawStep(r *rapid.T) step {
	return step{
		what:   rapid.SampledFrom([]string{"target", "target", "pod", "gone", "way", "way", "lost", "wait", "wait"}).Draw(r, "what"),
		agent:  rapid.ByteRange(0, 3).Draw(r, "agent"),
		way:    rapid.SampledFrom([]string{"", isDead, isDead, "refuses the connection", "refuses", "hangs", "does it and hangs", "is slow", "resets", "lies"}).Draw(r, "way"),
		wait:   time.Duration(rapid.IntRange(1, 400_000).Draw(r, "ms")) * time.Millisecond,
		delays: rapid.SliceOfN(rapid.IntRange(1, 3), 0, 3).Draw(r, "delays"),
		settle: rapid.Bool().Draw(r, "settle"),
	}
}

// model is what agents are to hold, and how they behave.
type model struct {
	k       *Keeper
	f       *fleet
	targets map[byte]Target
	ways    map[netip.Addr]string
	// next is the address of the next new pod.
	next byte
	// lostAt is when an agent lost its faults, by its own death or by somebody's hand.
	lostAt map[netip.Addr]time.Time
}

// isDead is the way of an agent whose process has ended, and with it its faults.
const isDead = "is dead"

// answer behaves as the agent does now.
func (m *model) answer(ctx context.Context, t Target, faults []api.Fault) (api.Changes, error, bool) {
	m.f.mu.Lock()
	way := m.ways[t.Addr]
	m.f.mu.Unlock()
	switch way {
	case isDead, "refuses the connection":
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
		return api.Changes{Faults: []api.Fault{{Name: "lie", Owner: decide.Owner, Delay: "9ms"}}}, nil, true
	}
	return api.Changes{}, nil, false
}

// do does a step.
func (m *model) do(s step) {
	t, known := m.targets[s.agent]
	switch {
	case s.what == "wait":
		time.Sleep(s.wait)
	case s.what == "target" || !known:
		if !known {
			t = target(s.agent)
		}
		t.Faults = nil
		for i, ms := range s.delays {
			t.Faults = append(t.Faults, delay(fmt.Sprintf("f%d", i), time.Duration(ms)*time.Millisecond, time.Time{}))
		}
		m.targets[s.agent] = t
	case s.what == "pod":
		m.next++
		t.Addr, t.UID = target(m.next).Addr, target(m.next).UID
		m.targets[s.agent] = t
	case s.what == "gone":
		delete(m.targets, s.agent)
	case s.what == "way":
		m.behave(t.Addr, s.way)
	case s.what == "lost":
		m.lose(t.Addr)
	}
	m.k.Set(cluster, slices.Collect(maps.Values(m.targets)))
	if s.settle {
		synctest.Wait()
	}
}

// behave changes how an agent behaves.
func (m *model) behave(addr netip.Addr, way string) {
	if !m.mayBeLost(addr) {
		delete(m.lostAt, addr) // and nothing is claimed of it until it has said what it holds
	}
	m.f.mu.Lock()
	m.ways[addr] = way
	m.f.mu.Unlock()
	if way == isDead {
		m.lose(addr)
	}
}

// lose has an agent lose its faults.
func (m *model) lose(addr netip.Addr) {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	delete(m.f.holds, addr)
	m.lostAt[addr] = time.Now()
}

// mayBeLost reports whether it can't be known yet that an agent lost its faults. One that
// is dead does not answer the next renewal, which may have to wait for workers, and is
// given some time. One that lives may refuse each renewal until the lease is over.
func (m *model) mayBeLost(addr netip.Addr) bool {
	const renewal = renewAfter + renewSpread
	at, is := m.lostAt[addr]
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	if m.ways[addr] == isDead {
		return is && time.Since(at) <= renewal+patience+20*time.Second
	}
	return is && time.Since(at) <= decide.Lease
}

// checkClaims checks that agents hold what States says, where that can be known.
func (m *model) checkClaims() error {
	synctest.Wait()
	for n, t := range m.targets {
		m.f.mu.Lock()
		inFlight, live := m.f.nowAt[t.Addr] > 0, m.f.live(t.Addr)
		m.f.mu.Unlock()
		if inFlight || m.mayBeLost(t.Addr) {
			continue // in flight, it may have been done already
		}
		for _, claimed := range statesOf(m.k, cluster)[t.Pod.Name].Holds {
			if held := live[claimed.Name]; held.Delay != claimed.Wire().Delay {
				return fmt.Errorf("agent %d is said to hold %s=%s, and holds %q", n, claimed.Name, claimed.Impairment.Delay, held.Delay)
			}
		}
	}
	return nil
}

// checkAll checks that all agents hold what they are to hold.
func (m *model) checkAll() error {
	states := statesOf(m.k, cluster)
	if len(states) != len(m.targets) || m.k.outOfStep() != 0 {
		return fmt.Errorf("%d states of %d agents, %v out of step", len(states), len(m.targets), m.k.outOfStep())
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
			return fmt.Errorf("agent %d holds %q, want %q", n, got, text)
		}
		if got := say(states[t.Pod.Name]); got != say(want) {
			return fmt.Errorf("agent %d: %s, want %s", n, got, say(want))
		}
	}
	for addr, most := range m.f.mostAt {
		if most > 1 {
			return fmt.Errorf("%d requests to %s at once", most, addr)
		}
	}
	return nil
}
