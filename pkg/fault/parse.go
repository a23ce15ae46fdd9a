package fault

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Limits are what faults depend on besides themselves: the clock, the agent's
// flags and its interfaces.
type Limits struct {
	// Now is the time durations count from.
	Now Moment
	// MaxDuration caps every duration, and is that of a fault that names none; 0
	// for no cap.
	MaxDuration time.Duration
	// Devices are the interfaces that a fault can name. A stored one can name any:
	// it waits for an interface that is not there.
	Devices []string
	// Stored is for faults that an agent accepted before: ExpiresAt is not
	// checked and may be in the past, Deadline stays 0, and MaxDuration does not
	// apply.
	Stored bool
}

// Parse reads one fault. The error is an Invalid with every bad value.
func Parse(w api.Fault, limits Limits) (Fault, error) {
	p := parser{limits: limits}
	f := p.fault("", w)
	return f, p.err()
}

// ParseLatency reads the fault named latency: a delay that ParseDelay returned,
// above 0, and from w the jitter, correlation, distribution, direction and life.
// The error is an Invalid with every bad value.
func ParseLatency(delay time.Duration, w api.Fault, limits Limits) (Fault, error) {
	p := parser{limits: limits}
	f := Fault{Name: Latency, Match: p.match("", w), Impairment: Impairment{Delay: delay}}
	p.jitter("", w, &f.Impairment, false)
	p.life("", w, &f)
	return f, p.err()
}

// ParseSet reads a whole set and sorts it by name. The error is an Invalid, or
// a Conflict between two faults.
func ParseSet(w []api.Fault, limits Limits) ([]Fault, error) {
	p := parser{limits: limits}
	if len(w) > MaxFaults {
		p.bad("faults", strconv.Itoa(len(w)), fmt.Sprintf("want at most %d faults at once", MaxFaults))
		return nil, p.err()
	}
	faults := make([]Fault, 0, len(w))
	for i, one := range w {
		at := fmt.Sprintf("faults[%d].", i)
		f := p.fault(at, one)
		if slices.ContainsFunc(faults, func(other Fault) bool { return other.Name == f.Name }) {
			p.bad(at+"name", f.Name, "want each name once")
		}
		faults = append(faults, f)
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return NewSet(faults)
}

// NewSet returns faults with different names as a set, sorted by name. The error
// is a Conflict, or an Invalid when there are too many faults or too many terms in
// all of them.
func NewSet(faults []Fault) ([]Fault, error) {
	if len(faults) > MaxFaults {
		return nil, Invalid{{Field: "faults", Value: strconv.Itoa(len(faults)), Accepted: fmt.Sprintf("want at most %d faults at once", MaxFaults)}}
	}
	terms := 0
	for _, f := range faults {
		terms += f.Match.countTerms()
	}
	if terms > maxTerms {
		return nil, Invalid{{Field: "faults", Value: strconv.Itoa(terms), Accepted: fmt.Sprintf("want at most %d combinations of peer, ports and protocol in all faults together", maxTerms)}}
	}
	sorted := slices.SortedFunc(slices.Values(faults), func(a, b Fault) int { return strings.Compare(a.Name, b.Name) })
	if err := conflict(sorted); err != nil {
		return nil, err
	}
	return sorted, nil
}

// parser collects every bad value, to report all of them at once.
type parser struct {
	limits  Limits
	invalid Invalid
}

func (p *parser) err() error { return p.invalid.err() }

func (p *parser) bad(field, value, accepted string) { p.invalid.add(field, value, accepted) }

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)

// NameAccepted says how a fault and its owner may be called.
const NameAccepted = `want at most 63 of a-z, 0-9, "-" and ".", a letter or digit at both ends`

// IsName reports whether a fault or an owner may be called so.
func IsName(s string) bool { return namePattern.MatchString(s) }

func (p *parser) fault(at string, w api.Fault) Fault {
	f := Fault{Name: w.Name, Owner: w.Owner}
	if !IsName(w.Name) {
		p.bad(at+"name", w.Name, NameAccepted)
	}
	if w.Owner != "" && !IsName(w.Owner) {
		p.bad(at+"owner", w.Owner, NameAccepted+"; or leave it out")
	}
	f.Match = p.match(at, w)
	f.Impairment = p.impairment(at, w)
	p.life(at, w, &f)
	return f
}

// life sets the end of a fault on both clocks.
func (p *parser) life(at string, w api.Fault, f *Fault) {
	f.ExpiresAt = p.expiry(at, w)
	if !f.ExpiresAt.IsZero() && !p.limits.Stored {
		f.Deadline = p.limits.Now.Boot + f.ExpiresAt.Sub(p.limits.Now.Wall)
	}
}

func (p *parser) expiry(at string, w api.Fault) time.Time {
	limit := p.limits.MaxDuration
	capped := fmt.Sprintf("; the agent's --max-duration is %s", limit)
	switch {
	case w.Duration != "" && w.ExpiresAt != "":
		p.bad(at+"duration", w.Duration, "want either duration or expiresAt")
	case w.Duration != "":
		d, err := ParseDuration(w.Duration)
		if err != nil {
			p.bad(at+"duration", w.Duration, durationAccepted)
		} else if limit > 0 && d > limit {
			p.bad(at+"duration", w.Duration, durationAccepted+capped)
		}
		return p.limits.Now.Wall.Add(d)
	case w.ExpiresAt != "":
		return p.expiresAt(at+"expiresAt", w.ExpiresAt, capped)
	case limit > 0 && !p.limits.Stored:
		return p.limits.Now.Wall.Add(limit)
	}
	return time.Time{}
}

func (p *parser) expiresAt(field, text, capped string) time.Time {
	limit := p.limits.MaxDuration
	t, err := time.Parse(time.RFC3339Nano, text)
	switch {
	case err == nil && p.limits.Stored && !t.IsZero():
	case err != nil || t.Sub(p.limits.Now.Wall) > MaxDuration:
		p.bad(field, text, `want a time of RFC 3339 within 720h from now, written as "2030-01-31T12:00:00Z"`)
	case !t.After(p.limits.Now.Wall):
		p.bad(field, text, "want a time in the future; here it is "+p.limits.Now.Wall.UTC().Format(time.RFC3339))
	case limit > 0 && t.Sub(p.limits.Now.Wall) > limit:
		p.bad(field, text, "want a time within the cap"+capped)
	}
	return t
}
