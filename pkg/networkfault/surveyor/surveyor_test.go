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
	"github.com/prometheus/client_golang/prometheus/testutil"
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

// All is told at once when the last pair was measured, and nothing while all stays so.
func TestMeasuring(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		s.Set(basic, []Assignment{assignment(0, 3), assignment(1, 1)})
		pass(20 * time.Second)
		if got, told := verdicts(s), f.take(); got != "rrpr" || told != 0 {
			t.Errorf("after 20s %s, told %d times", got, told)
		}
		pass(10 * time.Second)
		if got, told := verdicts(s), f.take(); got != "rrrr" || told != 1 {
			t.Errorf("after 30s %s, told %d times", got, told)
		}
		before, _, _ := f.measured("uid-0")
		pass(10 * time.Minute)
		if got, told := verdicts(s), f.take(); got != "rrrr" || told != 0 {
			t.Errorf("in quiet %s, told %d times", got, told)
		}
		if after, _, _ := f.measured("uid-0"); after-before < 28 || after-before > 31 {
			t.Errorf("%d measurements of an agent in 10 minutes of quiet, want 3 a minute", after-before)
		}
	})
}

// A pair that becomes wrong is told after a second look, and so is one that is right again.
func TestAWrongPair(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		s.Set(basic, []Assignment{assignment(0, 1), assignment(1, 1)})
		pass(time.Minute)
		f.take()
		f.set("10.2.0.0:2379", 90, nil)
		pass(time.Minute)
		if got, told := verdicts(s), f.take(); got != "ww" || told != 2 {
			t.Errorf("%s, told %d times", got, told)
		}
		if n := testutil.ToFloat64(s.metrics.wrong.WithLabelValues(basic.Namespace, basic.Name)); n != 2 {
			t.Errorf("%v pairs out of tolerance", n)
		}
		f.set("10.2.0.0:2379", 50.3, nil)
		pass(time.Minute)
		if got, told := verdicts(s), f.take(); got != "rr" || told != 2 {
			t.Errorf("%s, told %d times", got, told)
		}
		s.Set(basic, nil)
		if n := testutil.CollectAndCount(s.metrics.wrong); n != 0 {
			t.Errorf("%d series of a TidbCluster without pairs", n)
		}
	})
}

// An agent that measures for somebody else is asked later, and nothing is wrong by that. What
// was known of it is known for ten minutes more.
func TestAnAgentThatIsBusy(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		s.Set(basic, []Assignment{assignment(0, 1)})
		f.set("", 0, &client.Error{Problem: api.Problem{Status: 429}})
		pass(15 * time.Second)
		if got := verdicts(s); got != "p" {
			t.Errorf("%s while it is busy", got)
		}
		f.set("", 0, nil)
		pass(15 * time.Second)
		f.set("", 0, &client.Error{Problem: api.Problem{Status: 429}})
		f.take()
		pass(9 * time.Minute)
		if got, told := verdicts(s), f.take(); got != "r" || told != 0 {
			t.Errorf("%s, told %d times", got, told)
		}
		pass(2 * time.Minute)
		if got, told := verdicts(s), f.take(); got != "u" || told != 1 {
			t.Errorf("%s after long, told %d times", got, told)
		}
		pass(time.Hour)
		f.set("", 0, nil)
		if got, told := verdicts(s), f.take(); got != "u" || told != 0 {
			t.Errorf("%s after an hour, told %d times", got, told)
		}
		pass(time.Minute)
		if got, told := verdicts(s), f.take(); got != "r" || told != 1 {
			t.Errorf("%s when it measures again, told %d times", got, told)
		}
	})
}

// What is found stays while an agent measures only now and then, and is told once.
func TestAnAgentThatMeasuresNowAndThen(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		s.Set(basic, []Assignment{assignment(0, 1)})
		pass(15 * time.Second)
		f.take()
		f.mu.Lock()
		f.flaky = true
		f.mu.Unlock()
		pass(2 * time.Hour)
		if got, told := verdicts(s), f.take(); got != "r" || told != 0 {
			t.Errorf("%s, told %d times", got, told)
		}
	})
}

// Of a pair that is right and wrong in turns something is known in the end, and meanwhile
// the others are measured too.
func TestAPairThatContradictsItself(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		s.Set(basic, []Assignment{assignment(0, 3)})
		pass(time.Minute)
		if got := verdicts(s); got != "rrr" {
			t.Fatal(got)
		}
		f.take()
		f.mu.Lock()
		f.odd = "10.2.0.0:2379"
		f.rtt["10.2.0.1:2379"] = 90
		f.mu.Unlock()
		pass(2 * time.Minute)
		if got := verdicts(s); got[1] != 'w' {
			t.Errorf("%s: the second pair is not looked at beside the first", got)
		}
		pass(10 * time.Minute)
		if got, told := verdicts(s), f.take(); got != "uwr" || told != 2 {
			t.Errorf("%s, told %d times", got, told)
		}
	})
}

// What an agent can't measure is not known, and not wrong.
func TestAnAgentThatDoesNotMeasure(t *testing.T) {
	for name, test := range map[string]struct {
		err   error
		after time.Duration
	}{
		"old":    {&client.Error{Problem: api.Problem{Status: 404}}, 10 * time.Second},
		"silent": {errors.New("connection refused"), 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(s *Surveyor, f *fleet) {
				f.set("", 0, test.err)
				s.Set(basic, []Assignment{assignment(0, 1)})
				pass(test.after)
				if got := verdicts(s); got != "u" {
					t.Error(got)
				}
				f.set("", 0, nil)
				pass(30 * time.Second)
				if got := verdicts(s); got != "r" {
					t.Error(got)
				}
			})
		})
	}
}

// What is measured while it changes does not count, and what is asked for anew is measured
// anew. What stays as it was is known as before.
func TestAChange(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		one := assignment(0, 2)
		s.Set(basic, []Assignment{one})
		f.wantMeasuring(t)
		changed := assignment(0, 2)
		for i := range changed.Tasks {
			changed.Tasks[i].Asked.RTT = 80 * time.Millisecond
		}
		s.Set(basic, []Assignment{changed})
		pass(time.Second)
		if got, told := verdicts(s), f.take(); got != "pp" || told != 0 {
			t.Errorf("%s by what was asked for before, told %d times", got, told)
		}
		f.set("10.2.0.1:2379", 80.3, nil)
		f.set("10.2.0.0:2379", 80.3, nil)
		pass(30 * time.Second)
		if got := verdicts(s); got != "rr" {
			t.Error(got)
		}
		changed.Tasks[0].Waits = true
		s.Set(basic, []Assignment{changed})
		before, _, _ := f.measured("uid-0")
		f.set("10.2.0.0:2379", 1, nil)
		pass(5 * time.Minute)
		if after, _, _ := f.measured("uid-0"); verdicts(s) != "rr" || after == before {
			t.Errorf("%s while one waits, and %d measurements", verdicts(s), after-before)
		}
		changed.Tasks[0].Waits = false
		s.Set(basic, []Assignment{changed})
		pass(2 * time.Minute)
		if got := verdicts(s); got != "wr" {
			t.Error(got)
		}
	})
}

// What is measured while an agent is asked to hold something else does not count.
func TestWaiting(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		one := assignment(0, 1)
		s.Set(basic, []Assignment{one})
		f.wantMeasuring(t)
		one.Tasks[0].Waits = true
		s.Set(basic, []Assignment{one})
		pass(time.Minute)
		if got, told := verdicts(s), f.take(); got != "p" || told != 0 {
			t.Errorf("%s, told %d times", got, told)
		}
		one.Tasks[0].Waits = false
		s.Set(basic, []Assignment{one})
		pass(time.Second)
		if got, told := verdicts(s), f.take(); got != "r" || told != 1 {
			t.Errorf("%s, told %d times", got, told)
		}
	})
}

// wantMeasuring lets time pass until an agent measures.
func (f *fleet) wantMeasuring(t *testing.T) {
	t.Helper()
	pass(pause + 100*time.Millisecond)
	if _, _, now := f.measured(""); now != 1 {
		t.Fatalf("%d agents measure", now)
	}
}

// An agent that is reached late now and then measures no more often for that.
func TestAnAgentThatIsReachedLate(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		f.late = connectTime
		one := assignment(0, 9)
		for i := range 100 {
			for t := range one.Tasks { // so that it is asked as often as can be
				one.Tasks[t].Asked.RTT = time.Duration(50+i) * time.Millisecond
			}
			s.Set(basic, []Assignment{one})
			pass(20 * time.Second)
		}
	})
}

// An agent that measures for long is left to people for as long.
func TestALongMeasurement(t *testing.T) {
	for _, takes := range []time.Duration{300 * time.Millisecond, 7 * time.Second} {
		run(t, func(s *Surveyor, f *fleet) {
			f.takes = takes
			s.Set(basic, []Assignment{assignment(0, 8)})
			pass(10 * time.Minute)
			if n, _, _ := f.measured("uid-0"); n < 10 || f.least < 1 || f.least*takes.Seconds() < 2 {
				t.Errorf("%d measurements of %s each, with a rest of %v times that", n, takes, f.least)
			}
		})
	}
}

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
		pass(time.Minute)
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
