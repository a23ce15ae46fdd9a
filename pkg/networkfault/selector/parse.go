package selector

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// What a selector may begin with, beside a component.
const (
	wordAll    = "all"
	wordOthers = "others"
	prefixPod  = "pod/"
	prefixCIDR = "cidr/"
)

// Bounds of a selector: a text of that many bytes, with that many terms.
const (
	MaxLength = 253
	MaxTerms  = 16
)

// maxRandom is more than any component has pods.
const maxRandom = 1000

// Error is a mistake in a selector.
type Error struct {
	// Text is what was read.
	Text string
	// Offset is the byte of Text at which the mistake begins, counted from 0.
	Offset int
	// Problem says what is wrong there and what is accepted.
	Problem string
	// Word is a word that is not known, and Right are those that can be where it is. Both are
	// empty for another mistake.
	Word  string
	Right []string
}

// Error names the text, the character, counted from 1, and what is accepted.
func (e *Error) Error() string {
	return fmt.Sprintf("selector %q, character %d: %s", e.Text, e.Offset+1, e.Problem)
}

// Parse reads selectors, which are parted by commas. Spaces around them, and around
// what they consist of, mean nothing. The error is an *Error.
func Parse(text string) ([]Selector, error) {
	if len(text) > MaxLength {
		return nil, &Error{Text: text[:MaxLength] + "...", Offset: MaxLength, Problem: fmt.Sprintf("it is longer than %d bytes", MaxLength)}
	}
	p := parser{text: text}
	var all []Selector
	for {
		s, err := p.term()
		if err != nil {
			return nil, err
		}
		all = append(all, s)
		if p.skipSpace(); p.at == len(text) {
			return all, nil
		}
		if !p.accept(",") {
			return nil, p.mistake(p.at, "want a comma before another selector, or the end")
		}
		if len(all) == MaxTerms {
			return nil, p.mistake(p.at, fmt.Sprintf("want at most %d selectors", MaxTerms))
		}
	}
}

// parser reads a text from left to right.
type parser struct {
	text string
	at   int // the next byte
}

func (p *parser) mistake(offset int, problem string) *Error {
	return &Error{Text: p.text, Offset: offset, Problem: problem}
}

// unknown is the mistake that a word is not known. right are those that can be where it is.
func (p *parser) unknown(offset int, problem, word string, right []string) *Error {
	return &Error{p.text, offset, problem, word, right}
}

func (p *parser) skipSpace() {
	for p.at < len(p.text) && p.text[p.at] == ' ' {
		p.at++
	}
}

// accept skips a text if it comes next.
func (p *parser) accept(text string) bool {
	if !strings.HasPrefix(p.text[p.at:], text) {
		return false
	}
	p.at += len(text)
	return true
}

// word returns what comes before the next of some bytes, or before the end, without
// the spaces around it, and where it begins.
func (p *parser) word(until string) (word string, offset int) {
	p.skipSpace()
	offset = p.at
	end := strings.IndexAny(p.text[p.at:], until)
	if end < 0 {
		end = len(p.text) - p.at
	}
	p.at += end
	return strings.TrimRight(p.text[offset:p.at], " "), offset
}

// term reads one selector.
func (p *parser) term() (Selector, error) {
	name, offset := p.word(",(@")
	s, err := p.subject(name, offset)
	if err != nil {
		return Selector{}, err
	}
	if start := p.at; p.accept("(") {
		if s.Component == "" {
			return Selector{}, p.mistake(start, fmt.Sprintf("only components have picks, and %s is none", name))
		}
		if s.Pick, err = p.pick(s); err != nil {
			return Selector{}, err
		}
		p.skipSpace()
	}
	if start := p.at; p.accept("@") {
		if s.Pod != "" || s.CIDR.IsValid() {
			return Selector{}, p.mistake(start, "a single pod or a range of addresses has no @zone; want a component, all or others before it")
		}
		if s.Zone, err = p.zone(); err != nil {
			return Selector{}, err
		}
	}
	return s, nil
}

// subject reads what a selector begins with.
func (p *parser) subject(name string, offset int) (Selector, error) {
	switch {
	case name == wordAll:
		return Selector{All: true}, nil
	case name == wordOthers:
		return Selector{Others: true}, nil
	case strings.HasPrefix(name, prefixPod):
		pod := strings.TrimPrefix(name, prefixPod)
		if len(validation.IsDNS1123Subdomain(pod)) > 0 {
			return Selector{}, p.mistake(offset+len(prefixPod), fmt.Sprintf("%q is no name of a pod", pod))
		}
		return Selector{Pod: pod}, nil
	case strings.HasPrefix(name, prefixCIDR):
		return p.cidr(strings.TrimPrefix(name, prefixCIDR), offset+len(prefixCIDR))
	case name == "dns" || strings.HasPrefix(name, "dns/"):
		return Selector{}, p.mistake(offset, "names outside the cluster are not known here; want cidr/ADDRESS/BITS")
	}
	if component, err := tidbcluster.ParseComponent(name); err == nil {
		return Selector{Component: component}, nil
	}
	for _, alias := range aliases() {
		if name == alias.name {
			return alias.means, nil
		}
	}
	what := fmt.Sprintf("%q is unknown", name)
	if name == "" {
		what = "a selector is missing"
	}
	want := append(subjects(), prefixPod+"NAME", prefixCIDR+"ADDRESS/BITS")
	right := slices.Clone(want)
	for _, alias := range aliases() {
		right = append(right, alias.name)
	}
	return Selector{}, p.unknown(offset, what+"; want "+strings.Join(want, ", "), name, right)
}

// subjects are the words that a selector may be, or begin with.
func subjects() []string {
	var words []string
	for _, c := range tidbcluster.Components() {
		words = append(words, string(c))
	}
	return append(words, wordAll, wordOthers)
}

// alias is another spelling, which PingCAP's own tests use in their names, such as
// pdleader_to_pdfollower(all).
type alias struct {
	name  string
	means Selector
}

func aliases() []alias {
	return []alias{
		{"pdleader", Selector{Component: tidbcluster.PD, Pick: Pick{How: Leader}}},
		{"pdfollower", Selector{Component: tidbcluster.PD, Pick: Pick{How: Follower}}},
		{"ticdcowner", Selector{Component: tidbcluster.TiCDC, Pick: Pick{How: Owner}}},
	}
}

func (p *parser) cidr(text string, offset int) (Selector, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		addr, errAddr := netip.ParseAddr(text)
		if errAddr != nil || addr.Zone() != "" {
			return Selector{}, p.mistake(offset, fmt.Sprintf("%q is no range of addresses; want one like 10.0.0.0/8 or fd00::/8", text))
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	if prefix.Addr().Is4In6() {
		return Selector{}, p.mistake(offset, fmt.Sprintf("%q is an IPv4 address written as one of IPv6; want it as IPv4", text))
	}
	if masked := prefix.Masked(); masked != prefix {
		return Selector{}, p.mistake(offset, fmt.Sprintf("%q has bits beyond its %d; want %s", text, prefix.Bits(), masked))
	}
	return Selector{CIDR: prefix}, nil
}

// pick reads what is between brackets, and the bracket at the end.
func (p *parser) pick(of Selector) (Pick, error) {
	text, offset := p.word(",()@")
	if !p.accept(")") {
		return Pick{}, p.mistake(p.at, "want a closing bracket after the pick")
	}
	if of.Pick.How != "" { // pdfollower(all)
		if text != wordAll {
			return Pick{}, p.mistake(offset, fmt.Sprintf("%s can't be narrowed by %q", of, text))
		}
		return of.Pick, nil
	}
	pick, err := p.readPick(of.Component, text, offset)
	if err != nil {
		return Pick{}, err
	}
	if !slices.Contains(waysFor(of.Component), pick.How) && pick.How != "" {
		return Pick{}, p.mistake(offset, fmt.Sprintf("%s has no %s; want %s", of.Component, pick.How, spellings(of.Component)))
	}
	return pick, nil
}

func (p *parser) readPick(of tidbcluster.Component, text string, offset int) (Pick, error) {
	count, isRandom := strings.CutPrefix(text, string(Random)+":")
	store, isStore := strings.CutPrefix(text, string(Store)+"=")
	switch {
	case text == wordAll:
		return Pick{}, nil
	case text == "follower-all":
		return Pick{How: Follower}, nil
	case text == "ddl-owner":
		return Pick{}, p.mistake(offset, "the owner of DDL is not known here; want tidb, tidb(random) or tidb(ORDINAL)")
	case isRandom:
		n, err := strconv.ParseUint(count, 10, 64)
		if err != nil || n == 0 || n > maxRandom {
			return Pick{}, p.mistake(offset+len(Random)+1, fmt.Sprintf("%q is no number of pods; want 1 to %d", count, maxRandom))
		}
		return Pick{How: Random, Number: n}.reduced(), nil
	case isStore:
		n, err := strconv.ParseUint(store, 10, 64)
		if err != nil || n == 0 {
			return Pick{}, p.mistake(offset+len(Store)+1, fmt.Sprintf("%q is no ID of a store; want a number from 1", store))
		}
		return Pick{How: Store, Number: n}, nil
	case slices.Contains(waysFor(""), How(text)):
		return Pick{How: How(text)}, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return Pick{}, p.unknown(offset, fmt.Sprintf("%q picks nothing; want %s", text, spellings(of)), text, append(Picks(of), wordAll))
	}
	return Pick{How: Ordinal, Number: n}, nil
}

// reduced returns the pick with one spelling for one meaning.
func (p Pick) reduced() Pick {
	if p.How == Random && p.Number == 1 {
		p.Number = 0
	}
	return p
}

// waysFor returns the ways of picking that a component has; those that are a word of
// their own for "".
func waysFor(c tidbcluster.Component) []How {
	ways := []How{Random, Minority, Majority, Half}
	if c != tidbcluster.Discovery && c != "" { // a Deployment has no ordinals
		ways = append(ways, Ordinal)
	}
	switch c {
	case "":
		return append(ways, Leader, Follower, Owner, Busiest)
	case tidbcluster.PD:
		return append(ways, Leader, Follower)
	case tidbcluster.TiCDC:
		return append(ways, Owner)
	case tidbcluster.TiKV:
		return append(ways, Busiest, Store)
	case tidbcluster.TiFlash:
		return append(ways, Store)
	default:
		return ways
	}
}

// spellings lists how to write each way of picking from a component.
func spellings(c tidbcluster.Component) string {
	words := []string{wordAll}
	for _, how := range waysFor(c) {
		switch how {
		case Random:
			words = append(words, "random", "random:N")
		case Ordinal:
			words = append(words, "an ordinal like 0")
		case Store:
			words = append(words, "store=ID")
		default:
			words = append(words, string(how))
		}
	}
	return strings.Join(words, ", ")
}

// zone reads the name of a zone, which is the value of a label.
func (p *parser) zone() (string, error) {
	zone, offset := p.word(",(@)")
	if zone == "" || len(validation.IsValidLabelValue(zone)) > 0 {
		return "", p.mistake(offset, fmt.Sprintf("%q is no name of a zone; want letters, digits, '-', '_' and '.', at most 63", zone))
	}
	return zone, nil
}

// Picks returns the picks of a component that are a word alone, as Parse reads them between
// the brackets.
func Picks(c tidbcluster.Component) []string {
	var all []string
	for _, how := range waysFor(c) {
		if how != Ordinal && how != Store {
			all = append(all, string(how))
		}
	}
	return all
}
