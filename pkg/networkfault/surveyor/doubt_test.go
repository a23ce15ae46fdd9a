package surveyor

import (
	"slices"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// The agents of both pods are in doubt as soon as a pair is not what is asked for, and no more
// once the pair is known to be wrong.
func TestDoubt(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		s.Set(basic, []Assignment{assignment(0, 1)})
		pass(10 * time.Minute)
		if got := f.takeDoubted(); len(got) != 0 {
			t.Errorf("in quiet %q are in doubt", got)
		}
		f.set("10.2.0.0:2379", 0.3, nil)
		pass(turn + time.Second)
		if got := f.takeDoubted(); len(got) == 0 || got[0] != "peer-0 pod-0" {
			t.Errorf("%q are in doubt after %s", got, turn)
		}
		pass(time.Minute)
		f.takeDoubted()
		pass(10 * time.Minute)
		if got := f.takeDoubted(); len(got) != 0 || verdicts(s) != "w" {
			t.Errorf("%q are in doubt of what is known: %s", got, verdicts(s))
		}
	})
}

// So is an agent that says that it does not hold what it is to count.
func TestDoubtOfCounters(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		f.count(api.Counters{}, api.Counters{Packets: 20000, Dropped: 200})
		s.Set(basic, []Assignment{counters(3)})
		pass(time.Minute)
		f.mu.Lock()
		f.unheld = true
		f.mu.Unlock()
		f.takeDoubted()
		pass(turn + time.Second)
		if got := f.takeDoubted(); len(got) == 0 || got[0] != "pod-0" {
			t.Errorf("%q are in doubt", got)
		}
	})
}

// What was wrong with a pod whose faults were put right is not known at once, and measured
// before all else: all is right within half a minute. What is wrong with others stays.
func TestPutRight(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		all := []Assignment{assignment(0, 3), assignment(1, 8), assignment(2, 8)}
		all[2].Tasks = all[2].Tasks[7:]
		s.Set(basic, all)
		pass(2 * time.Minute)
		for _, target := range []string{"10.2.0.0:2379", "10.2.0.2:2379", "10.2.0.7:2379"} {
			f.set(target, 0.3, nil)
		}
		pass(5 * time.Minute)
		if got := verdicts(s); got != "wrw"+"wrwrrrrw"+"w" {
			t.Fatal(got)
		}
		f.set("10.2.0.0:2379", 50.3, nil)
		f.set("10.2.0.2:2379", 50.3, nil)
		f.take()
		s.PutRight(basic, "pod-0")
		s.PutRight(basic, "peer-2")
		if got, told := verdicts(s), f.take(); got[:3] != "prp" || got[5] != 'p' || got[3] != 'w' || told != 2 {
			t.Errorf("%s when faults were put right, told %d times", got, told)
		}
		pass(30 * time.Second)
		if got := verdicts(s); got[:3] != "rrr" || got[5] != 'r' || got[10:] != "ww" {
			t.Errorf("%s half a minute later", got)
		}
	})
}

// What is being measured while faults are put right says nothing.
func TestPutRightMeanwhile(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		f.takes = 3 * time.Second
		s.Set(basic, []Assignment{assignment(0, 1)})
		pass(time.Minute)
		f.set("10.2.0.0:2379", 0.3, nil)
		for _, _, now := f.measured(""); now == 0; _, _, now = f.measured("") {
			pass(100 * time.Millisecond)
		}
		f.set("10.2.0.0:2379", 50.3, nil)
		s.PutRight(basic, "pod-0")
		f.takeDoubted()
		pass(5 * time.Second)
		if got := f.takeDoubted(); len(got) != 0 || verdicts(s) != "r" {
			t.Errorf("%s, %q are in doubt by what was before", verdicts(s), got)
		}
	})
}

// A pair that is wrong is measured before those that are right, and these all the same.
func TestWrongPairsComeFirst(t *testing.T) {
	run(t, func(s *Surveyor, f *fleet) {
		s.Set(basic, []Assignment{assignment(0, 8)})
		pass(2 * time.Minute)
		f.set("10.2.0.3:2379", 90, nil)
		pass(5 * time.Minute)
		if got := verdicts(s); got != "rrrwrrrr" {
			t.Fatal(got)
		}
		f.set("10.2.0.5:2379", 90, nil)
		pass(5 * time.Minute)
		if got := verdicts(s); got != "rrrwrwrr" {
			t.Errorf("%s: pairs that are right are not measured beside one that is wrong", got)
		}
		for _, target := range []string{"10.2.0.3:2379", "10.2.0.5:2379"} {
			f.set(target, 50.3, nil)
		}
		f.take()
		pass(50 * time.Second)
		if got, told := verdicts(s), f.take(); got != "rrrrrrrr" || told != 2 {
			t.Errorf("%s, told %d times, of what is right again", got, told)
		}
		if !slices.Equal(f.takeDoubted()[:1], []string{"peer-3 pod-0"}) {
			t.Error("another pair was in doubt first")
		}
	})
}
