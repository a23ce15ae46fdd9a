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
	// isIdle is set while too little is known for another verdict.
	isIdle bool
}

// Note takes the next measurement of a pair, or the next comparison of counters, and reports
// whether the verdict is another one by it, or why there is none. One measurement makes
// nothing wrong: it takes a second look. Too few packets leave a verdict as it is.
func (s *State) Note(j Judgement) (changed bool) {
	v := j.Outcome.verdict()
	s.isIdle = j.Outcome == Few || j.Outcome == Unclear
	switch {
	case j.Outcome == Begun, j.Outcome == Busy && s.Verdict != Pending:
		return false
	case s.isIdle && s.Verdict == Unknown && s.Because.Outcome == Few && j.Outcome == Unclear:
		s.Because = j
		return true
	case s.isIdle && s.Verdict != Pending:
		return false
	case v == s.Verdict:
		s.times = 0
		return false
	case v != s.other:
		s.other, s.times = v, 0
	}
	s.times++
	if s.times < s.needs(j.Outcome) {
		return false
	}
	*s = State{Verdict: v, Because: j, isIdle: s.isIdle}
	return true
}

// needs is how many measurements in a row make another verdict.
func (s *State) needs(o Outcome) uint8 {
	switch {
	case o == Unable, o == Few, o == Unclear:
		return 1
	case o.verdict() == Unknown:
		return 3
	case o.verdict() == Wrong, s.Verdict == Wrong:
		return 2
	default:
		return 1
	}
}

// IsOpen reports whether another measurement is wanted soon: there is no verdict, or the last
// measurement that tells something contradicts it.
func (s *State) IsOpen() bool { return s.Verdict == Pending || s.times > 0 && !s.isIdle }
