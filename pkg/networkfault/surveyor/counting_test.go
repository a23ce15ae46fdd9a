package surveyor

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

func (f *fleet) Status(_ context.Context, t Target) (api.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.began[t.UID] = append(f.began[t.UID], time.Now())
	f.counted = f.counted.Add(f.more)
	status := api.Status{Engine: api.EngineNFQueue, Devices: []api.Device{{Name: "eth0"}}}
	for _, name := range []string{"fault-0", "fault-1", "fault-2"} {
		status.Faults = append(status.Faults, api.FaultStatus{Fault: api.Fault{Name: name}, Held: !f.unheld, Counters: f.counted})
	}
	return status, f.err
}

// count says what agents count from now on, beginning with what they have.
func (f *fleet) count(has, more api.Counters) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counted, f.more = has, more
}

// counters gives an agent so many faults to count, with a loss of 1 %.
func counters(faults int) Assignment {
	a := assignment(0, 0)
	for i := range faults {
		counted := verify.Counted{Fault: fmt.Sprint("fault-", i), Loss: fault.Hundred / 100}
		a.Tasks = append(a.Tasks, verify.Task{Check: verify.Check{From: a.Pod.Name, Counted: counted}, Objects: []string{"slow"}})
	}
	return a
}

// The counters of all faults of an agent are read at once, and compared with the reading
// before.
func TestCounting(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		f.count(api.Counters{Packets: 1000, Dropped: 1000}, api.Counters{Packets: 20000, Dropped: 200})
		s.Set(basic, []Assignment{counters(3)})
		pass(10 * time.Second)
		if got, told := verdicts(s), f.take(); got != "ppp" || told != 0 {
			t.Errorf("%s by one reading, told %d times", got, told)
		}
		pass(10 * time.Second)
		if got, told := verdicts(s), f.take(); got != "rrr" || told != 1 {
			t.Errorf("%s by two readings, told %d times", got, told)
		}
		before, _, _ := f.measured("uid-0")
		pass(10 * time.Minute)
		if got, told := verdicts(s), f.take(); got != "rrr" || told != 0 {
			t.Errorf("in quiet %s, told %d times", got, told)
		}
		if after, _, _ := f.measured("uid-0"); after-before < 28 || after-before > 31 {
			t.Errorf("%d readings of an agent in 10 minutes of quiet, want 3 a minute", after-before)
		}
		f.count(f.counted, api.Counters{Packets: 20000, Dropped: 600})
		pass(time.Minute)
		if got, told := verdicts(s), f.take(); got != "www" || told != 1 {
			t.Errorf("of 3 %% %s, told %d times", got, told)
		}
		if n := testutil.ToFloat64(s.metrics.wrong.WithLabelValues(basic.Namespace, basic.Name)); n != 3 {
			t.Errorf("%v out of tolerance", n)
		}
		f.count(f.counted, api.Counters{Packets: 20000, Dropped: 200})
		pass(time.Minute)
		if got, told := verdicts(s), f.take(); got != "rrr" || told != 1 {
			t.Errorf("of 1 %% again %s, told %d times", got, told)
		}
	})
}

// What few packets show adds up until it tells something, and keeps no pair waiting.
func TestCountingFewPackets(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		one := counters(1)
		one.Tasks = append(one.Tasks, assignment(0, 1).Tasks...)
		s.Set(basic, []Assignment{one})
		pass(30 * time.Second)
		if got, told := verdicts(s), f.take(); got != "ur" || told == 0 {
			t.Errorf("%s without a packet, told %d times", got, told)
		}
		f.count(api.Counters{}, api.Counters{Packets: 2000, Dropped: 20})
		pass(time.Minute)
		if got, told := verdicts(s), f.take(); got != "ur" || told != 0 {
			t.Errorf("%s by some packets, told %d times", got, told)
		}
		pass(5 * time.Minute)
		if got, told := verdicts(s), f.take(); got != "rr" || told != 1 {
			t.Errorf("%s by many packets, told %d times", got, told)
		}
	})
}

// Counters that begin anew make nothing wrong, and what was known stays.
func TestCountingAnew(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		f.count(api.Counters{}, api.Counters{Packets: 20000, Dropped: 200})
		s.Set(basic, []Assignment{counters(1)})
		pass(time.Minute)
		f.take()
		for range 20 {
			f.count(api.Counters{}, api.Counters{})
			pass(20 * time.Second)
		}
		if got, told := verdicts(s), f.take(); got != "r" || told != 0 {
			t.Errorf("%s, told %d times", got, told)
		}
		f.count(api.Counters{}, api.Counters{Packets: 20000})
		pass(2 * time.Minute)
		if got := verdicts(s); got != "w" {
			t.Errorf("%s where nothing is lost", got)
		}
	})
}

// Counters that begin anew with each reading say nothing in the end, and that is told once.
// They keep no pair waiting, before as after.
func TestCountingAnewEachTime(t *testing.T) {
	for _, isKnown := range []bool{false, true} {
		run(t, func(s *Surveyor, f *fleet) {
			one := counters(1)
			one.Tasks = append(one.Tasks, assignment(0, 1).Tasks...)
			f.count(api.Counters{Packets: 1e9}, api.Counters{Packets: 20000, Dropped: 200})
			if isKnown {
				s.Set(basic, []Assignment{one})
				pass(time.Minute)
				if got := verdicts(s); got != "rr" {
					t.Fatal(got)
				}
			}
			f.take()
			f.count(api.Counters{Packets: 1e9}, api.Counters{Packets: ^uint64(0)}) // one less each time
			s.Set(basic, []Assignment{one})
			pass(10 * time.Minute)
			if got, told := verdicts(s), f.take(); got != "ur" || told != 1 {
				t.Errorf("known before: %t: %s, told %d times", isKnown, got, told)
			}
		})
	}
}

// What an agent counts says nothing of the pairs that it has no time to measure.
func TestCountingOfABusyAgent(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		one := counters(1)
		one.Tasks = append(one.Tasks, assignment(0, 1).Tasks...)
		f.count(api.Counters{}, api.Counters{Packets: 20000, Dropped: 200})
		s.Set(basic, []Assignment{one})
		pass(time.Minute)
		f.take()
		f.mu.Lock()
		f.busy = true
		f.mu.Unlock()
		pass(9 * time.Minute)
		if got, told := verdicts(s), f.take(); got != "rr" || told != 0 {
			t.Errorf("%s, told %d times", got, told)
		}
		pass(2 * time.Minute)
		if got, told := verdicts(s), f.take(); got != "ru" || told != 1 {
			t.Errorf("%s after long, told %d times", got, told)
		}
	})
}

// What is read while an agent is asked to hold something else is compared with nothing, and
// so is what an agent that does not hold the fault has counted.
func TestCountingWaits(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		f.count(api.Counters{}, api.Counters{Packets: 20000, Dropped: 200})
		one := counters(1)
		one.Tasks[0].Waits = true
		s.Set(basic, []Assignment{one})
		pass(time.Minute)
		if n, _, _ := f.measured("uid-0"); n > 0 || verdicts(s) != "p" {
			t.Errorf("%d readings while it waits, and it is %s", n, verdicts(s))
		}
		one.Tasks[0].Waits, one.Tasks[0].Counted.Fault = false, "gone"
		s.Set(basic, []Assignment{one})
		pass(time.Minute)
		if got := verdicts(s); got != "u" {
			t.Errorf("%s of a fault that is not held", got)
		}
	})
}
