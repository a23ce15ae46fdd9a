package measured

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/networkfault/verify"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Number returns a time in milliseconds, with as many digits as a person looks at: "0.30",
// "20.4", "204".
func Number(d time.Duration) string {
	ms := d.Seconds() * 1000
	digits := 0
	switch {
	case ms < 9.995:
		digits = 2
	case ms < 99.95:
		digits = 1
	}
	return strconv.FormatFloat(ms, 'f', digits, 64)
}

// Short returns a time in milliseconds without zeros at its end: "0.3", "20", "204".
func Short(d time.Duration) string {
	text := Number(d)
	if strings.Contains(text, ".") {
		text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// String says what is in force.
func (o Object) String() string {
	text := fmt.Sprintf("%s %s: %s", o.Kind, o.Name, o.What)
	if o.At != "" {
		text = fmt.Sprintf("%s %s, set by hand at %s: %s; not counted as asked for", o.Kind, o.Name, o.At, o.What)
	}
	if o.Doubt != "" {
		text += "; not counted as asked for: " + o.Doubt
	}
	return text
}

// Out returns the pairs that are out of tolerance, the furthest off first.
func (m *Matrix) Out() []*Pair {
	all := slices.DeleteFunc(slices.Clone(m.Pairs), func(p *Pair) bool { return p.Verdict() != verify.Wrong })
	slices.SortStableFunc(all, func(a, b *Pair) int { return -cmp.Compare(a.Off(), b.Off()) })
	return all
}

// Longest returns the pairs with the longest round trips, the longest first; at most n.
func (m *Matrix) Longest(n int) []*Pair {
	all := (&Cell{Pairs: m.Pairs}).Answered()
	slices.Reverse(all)
	return all[:min(n, len(all))]
}

// Furthest returns the pair whose round trip is furthest from what is asked for, and how far that
// is; nil if that is not known of any.
func (m *Matrix) Furthest() (*Pair, time.Duration) {
	var furthest *Pair
	var off time.Duration
	for _, p := range m.Pairs {
		if p.off() > off {
			furthest, off = p, p.off()
		}
	}
	return furthest, off
}

// asksNothing reports whether nothing is asked for between any pods.
func (m *Matrix) asksNothing() bool {
	return !slices.ContainsFunc(m.Pairs, func(p *Pair) bool { return p.Asked.Cut || p.Asked.RTT > 0 || p.Asked.Lossy || p.Asked.Rated })
}

// Judged is how many pairs are as asked for or not.
func (m *Matrix) Judged() int {
	all := Cell{Pairs: m.Pairs}
	return all.Count(verify.Right) + all.Count(verify.Wrong)
}

// Measured is how many pairs were measured.
func (m *Matrix) Measured() int {
	n := 0
	for _, p := range m.Pairs {
		if p.looks > 0 {
			n++
		}
	}
	return n
}

// Unknown says which pairs were not measured, or nothing can be said of, and why.
func (m *Matrix) Unknown() []string {
	type key struct{ from, why string }
	var order []key
	to := map[key][]string{}
	for _, p := range m.Pairs {
		if why := p.Why(); p.Verdict() == verify.Unknown && why != "" {
			k := key{p.From, why}
			if to[k] == nil {
				order = append(order, k)
			}
			to[k] = append(to[k], p.To)
		}
	}
	var all []string
	for _, k := range order {
		peers := to[k][0]
		if n := len(to[k]); n > 1 {
			peers = tidbcluster.Plural(n, "pod")
		}
		all = append(all, fmt.Sprintf("%s to %s: %s", k.from, peers, k.why))
	}
	return all
}

// Summary says in a sentence what came of it.
func (m *Matrix) Summary() string {
	text := fmt.Sprintf("%d of %s measured", m.Measured(), tidbcluster.Plural(len(m.Pairs), "pair"))
	switch out := len(m.Out()); {
	case !m.IsAskedKnown:
		return text + "; what is asked for is not known"
	case out > 0:
		return fmt.Sprintf("%s, %d out of tolerance", text, out)
	case m.asksNothing() && m.Judged() == len(m.Pairs):
		return text + ", nothing asked for and nothing added"
	case m.asksNothing():
		return fmt.Sprintf("%s, nothing asked for; at %d it is known that nothing is added", text, m.Judged())
	case m.Judged() == len(m.Pairs):
		return text + ", all as asked for"
	default:
		return fmt.Sprintf("%s, %d as asked for", text, m.Judged())
	}
}

// Words says of a pair what was measured, and what is asked for.
func (p *Pair) Words() string {
	rtt, _ := p.RTT()
	text := "no answer"
	if rtt > 0 {
		text = Number(rtt) + " ms"
	}
	if p.looks == 0 {
		text = "not measured"
	}
	switch asked := (&Cell{Pairs: []*Pair{p}}).asked(); {
	case p.isBlind:
		return text
	case p.Asked.Cut:
		return text + ", partition asked"
	case asked == "" && (p.Asked.Lossy || p.Asked.Rated):
		return text + ", no delay asked"
	case asked == "":
		return text + ", nothing asked"
	default:
		return text + ", " + asked + " ms asked"
	}
}
