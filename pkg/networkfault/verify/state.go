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
}

// Note takes the next measurement of a pair, and reports whether the verdict is another one
// by it. One measurement makes nothing wrong: it takes a second look.
func (s *State) Note(j Judgement) (changed bool) {
	v := j.Outcome.verdict()
	switch {
	case j.Outcome == Busy && s.Verdict != Pending:
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
	*s = State{Verdict: v, Because: j}
	return true
}

// needs is how many measurements in a row make another verdict.
func (s *State) needs(o Outcome) uint8 {
	switch {
	case o == Unable:
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
// measurement contradicts it.
func (s *State) IsOpen() bool { return s.Verdict == Pending || s.times > 0 }
