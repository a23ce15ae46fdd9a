package surveyor

import (
	"errors"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
)

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
