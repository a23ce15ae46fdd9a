package verify

// Verdict is what several measurements of a pair come to.
type Verdict uint8

const (
	// Pending is for none yet.
	Pending Verdict = iota
	// Right is what was asked for.
	Right
	// Wrong is something else.
	Wrong
	// Unknown is what can't be measured.
	Unknown
)

// State is what is known of a pair. The zero value is of one that was not measured yet.
type State struct {
	Verdict Verdict
	// Because is the measurement that made the verdict.
	Because Judgement
	// other is what the last measurements say, so many in a row, if that is another verdict.
	other Verdict
	times uint8
	// looks counts the measurements since the last one that said the same as the verdict.
	looks uint8
	// isIdle is set while too little is known for another verdict.
	isIdle bool
}

// How many measurements it takes to know nothing more of a pair, or of a fault's counters.
// What was found stays until many have not confirmed it, so that a pair on a busy machine does
// not come and go.
const (
	looksAtFirst = 6
	looksAtMost  = 10
)

// Note takes the next measurement of a pair, or the next comparison of counters, and reports
// whether the verdict is another one by it, or why there is none. One measurement makes
// nothing wrong: it takes a second look. Measurements that contradict each other again and
// again make it Unknown. Too few packets leave a verdict as it is.
func (s *State) Note(j Judgement) (changed bool) {
	v := j.Outcome.verdict()
	s.isIdle = j.Outcome.isIdle()
	switch {
	case j.Outcome == Busy && s.Verdict != Pending:
		return false
	case s.isIdle && s.explains(j.Outcome):
		s.Because = j
		return true
	case s.isIdle && s.Verdict != Pending:
		return false
	case v == s.Verdict:
		s.times, s.looks = 0, 0
		return false
	case v != s.other:
		s.other, s.times = v, 0
	}
	s.times++
	s.looks++
	switch {
	case s.times >= s.needs(j.Outcome):
		*s = State{Verdict: v, Because: j}
		return true
	case s.Verdict == Pending && s.looks >= looksAtFirst, s.Verdict != Unknown && s.looks >= looksAtMost:
		*s = State{Verdict: Unknown, Because: j}
		return true
	default:
		return false
	}
}

// explains reports whether an outcome is a newer reason for having no verdict than the one that
// is told.
func (s *State) explains(o Outcome) bool {
	was := s.Because.Outcome
	return s.Verdict == Unknown && was.verdict() == Unknown && was != Unclear && was != o
}

// needs is how many measurements in a row make another verdict.
func (s *State) needs(o Outcome) uint8 {
	switch v := o.verdict(); {
	case o == Unable, o.isIdle():
		return 1
	case v == Unknown && s.Verdict == Pending:
		return 3
	case v == Unknown:
		return looksAtMost
	case v == Right && (s.Verdict == Pending || s.Because.Outcome == Unable || s.Because.Outcome.isIdle()):
		return 1
	default:
		return 2
	}
}

// Forget drops what speaks against a pair: that it is wrong, or was in the last measurements.
// The next one decides.
func (s *State) Forget() {
	if s.Verdict == Wrong {
		*s = State{}
	}
	if s.other == Wrong {
		s.other, s.times, s.looks = 0, 0, 0
	}
}

// IsOpen reports whether another measurement is wanted soon: there is no verdict, or the last
// one that tells something contradicts it.
func (s *State) IsOpen() bool { return s.Verdict == Pending || s.times > 0 && !s.isIdle }
