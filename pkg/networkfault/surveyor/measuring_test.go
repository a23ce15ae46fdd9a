package surveyor

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// All is told at once when the last pair was measured, which takes seconds, and nothing while
// all stays so.
func TestMeasuring(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		s.Set(basic, []Assignment{assignment(0, 3), assignment(1, 1)})
		pass(pause + 2*rest)
		if got, told := verdicts(s), f.take(); got != "rrpr" || told != 0 {
			t.Errorf("%s before the last, told %d times", got, told)
		}
		pass(rest)
		if got, told := verdicts(s), f.take(); got != "rrrr" || told != 1 {
			t.Errorf("%s after the last, told %d times", got, told)
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

// What is asked for soon after many pairs were does not wait until these are a minute old.
func TestWhatIsAskedForNext(t *testing.T) {
	run(t, func(s *Surveyor, _ *fleet) {
		pass(minute)
		s.Set(basic, []Assignment{assignment(0, 8)})
		pass(20 * time.Second)
		s.Set(basic, []Assignment{assignment(0, 2)})
		changed := assignment(0, 2)
		for i := range changed.Tasks {
			changed.Tasks[i].Asked.Spread = time.Millisecond
		}
		s.Set(basic, []Assignment{changed})
		pass(2*pause + rest)
		if got := verdicts(s); got != "rr" {
			t.Errorf("%s two pauses later", got)
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
