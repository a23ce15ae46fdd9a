package surveyor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

var basic = types.NamespacedName{Namespace: "db", Name: "basic"}

// fleet is made-up agents that measure.
type fleet struct {
	mu sync.Mutex
	// began are the beginnings of the measurements of each agent.
	began map[types.UID][]time.Time
	// rtt is what is measured to a target, and err what comes instead.
	rtt map[string]float64
	err error
	// busy has agents measure for somebody else, and count all the same.
	busy bool
	// flaky has all but each fourth measurement of an agent fail.
	flaky bool
	// odd is a target that is late in every second measurement, and does not answer in the
	// others at its agent's port; times counts them.
	odd   string
	times int
	// now and most are how many measure at once, and did.
	now, most int
	changed   int
	// doubted are the pods of each call of Doubt.
	doubted []string
	// unheld is set while agents don't hold the faults that they count.
	unheld bool
	// takes is how long a measurement takes; 300 ms for 0. late is how much later than
	// others each ninth request of an agent reaches it.
	takes, late time.Duration
	// slow is a part of the names of the pods whose measurements take a long time.
	slow  string
	asked map[types.UID]int
	// ended is when an agent had measured last, and least the shortest time until it
	// measured again, as a part of how long that took.
	ended map[types.UID]time.Time
	least float64
	// counted is what agents have counted of each fault, and more is what comes to it with
	// each reading.
	counted, more api.Counters
}

func (f *fleet) Measure(ctx context.Context, t Target, m api.Measure) (api.Measurements, error) {
	f.mu.Lock()
	f.asked[t.UID]++
	late, takes := time.Duration(0), cmp.Or(f.takes, 300*time.Millisecond)
	if f.asked[t.UID]%9 == 1 {
		late = f.late
	}
	if f.slow != "" && strings.Contains(t.Pod.Name, f.slow) {
		takes = 8 * time.Second
	}
	f.mu.Unlock()
	time.Sleep(late)
	f.mu.Lock()
	if end, ok := f.ended[t.UID]; ok {
		f.least = min(f.least, time.Since(end).Seconds()/takes.Seconds())
	}
	f.began[t.UID] = append(f.began[t.UID], time.Now())
	f.now++
	f.most = max(f.most, f.now)
	err := f.err
	if f.busy {
		err = &client.Error{Problem: api.Problem{Status: http.StatusTooManyRequests}}
	}
	if f.flaky && len(f.began[t.UID])%4 != 0 {
		err = errors.New("connection refused")
	}
	var answer api.Measurements
	isOdd := f.odd != "" && slices.Contains(m.Targets, f.odd)
	if isOdd {
		f.times++
	}
	for _, target := range m.Targets {
		one := api.Measurement{Target: target}
		rtt, isSet := f.rtt[target]
		for range m.Count {
			switch {
			case isOdd && f.times%2 == 0:
			case isOdd && target == f.odd:
				one.Samples = append(one.Samples, 90)
			case isSet:
				one.Samples = append(one.Samples, rtt)
			case netip.MustParseAddrPort(target).Port() == api.Port:
				one.Samples = append(one.Samples, 0.3)
			default:
				one.Samples = append(one.Samples, 50.3)
			}
		}
		answer.Results = append(answer.Results, one)
	}
	f.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		err = ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now--
	f.ended[t.UID] = time.Now()
	return answer, err
}

// set says what is measured to a target, or that it fails.
func (f *fleet) set(target string, rtt float64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rtt[target], f.err = rtt, err
}

// take returns how often Changed was called since the last call.
func (f *fleet) take() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.changed
	f.changed = 0
	return n
}

// takeDoubted returns the pods of each call of Doubt since the last call.
func (f *fleet) takeDoubted() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.doubted
	f.doubted = nil
	return all
}

// measured returns how often an agent has measured, of how many, and how many measure now.
func (f *fleet) measured(uid types.UID) (times, agents, now int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.began[uid]), len(f.began), f.now
}

// run runs a Surveyor in the time of a bubble.
func run(t *testing.T, test func(s *Surveyor, f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{began: map[types.UID][]time.Time{}, rtt: map[string]float64{}, asked: map[types.UID]int{}, ended: map[types.UID]time.Time{}, least: 1000}
		s, err := New(Options{
			Agents: f, Metrics: prometheus.NewRegistry(), Log: logr.Discard(),
			Changed: func(types.NamespacedName) {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.changed++
			},
			Doubt: func(_ types.NamespacedName, pods ...string) {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.doubted = append(f.doubted, strings.Join(pods, " "))
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		test(s, f)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		f.wantBounds(t)
	})
}

// wantBounds checks that no agent has measured more often than it may.
func (f *fleet) wantBounds(t *testing.T) {
	t.Helper()
	var all []time.Time
	for uid, began := range f.began {
		all = append(all, began...)
		if most := within(began, time.Minute); most > PerMinute {
			t.Errorf("%s measured %d times in a minute", uid, most)
		}
	}
	slices.SortFunc(all, time.Time.Compare)
	if most := within(all, time.Second); most > perSecond+1 || f.most > parallel {
		t.Errorf("%d measurements began within a second, and %d went on at once", most, f.most)
	}
}

// within returns the most times within a span.
func within(sorted []time.Time, span time.Duration) int {
	most, first := 0, 0
	for i, at := range sorted {
		for at.Sub(sorted[first]) >= span {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// assignment gives one agent so many tasks, each to another pod.
func assignment(agent, tasks int) Assignment {
	a := Assignment{Target: Target{Pod: types.NamespacedName{Namespace: basic.Namespace, Name: fmt.Sprint("pod-", agent)}, UID: types.UID(fmt.Sprint("uid-", agent)), Addr: netip.AddrFrom4([4]byte{10, 1, byte(agent >> 8), byte(agent)})}}
	for i := range tasks {
		a.Tasks = append(a.Tasks, verify.Task{
			Check:   verify.Check{From: a.Pod.Name, To: fmt.Sprint("peer-", i), Addr: netip.AddrFrom4([4]byte{10, 2, 0, byte(i)}), Port: 2379, Asked: verify.Asked{RTT: 50 * time.Millisecond}},
			Objects: []string{"slow"},
		})
	}
	return a
}

func verdicts(s *Surveyor) string {
	text := ""
	for _, r := range s.Verdicts(basic) {
		text += string("prwu"[r.Verdict])
	}
	return text
}

// pass lets time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
