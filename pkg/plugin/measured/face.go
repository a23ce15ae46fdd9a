package measured

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

// Face is what is shown of a cell, in milliseconds.
type Face struct {
	// Value is the longest round trip, or "cut" for no answer as asked, "none" for no answer
	// where one is asked for, "?" if nothing was measured; "" for a pod with itself.
	Value string
	// RTT is the longest round trip; 0 if there is none.
	RTT time.Duration
	// Median is the median of several pairs; "" for one pair.
	Median string
	// Mark is MarkOut, MarkUnknown or "".
	Mark string
	// Asked is what is asked for; "" for nothing.
	Asked string
}

// The marks of cells.
const (
	// MarkOut marks what is out of tolerance.
	MarkOut = "!"
	// MarkUnknown marks round trips of which nothing can be said.
	MarkUnknown = "?"
)

// The values of cells that are no numbers.
const (
	ValueCut     = "cut"
	ValueNone    = "none"
	ValueUnknown = "?"
)

// Face returns what is shown of a cell.
func (c *Cell) Face() Face {
	if c.IsEmpty() {
		return Face{}
	}
	f := Face{Asked: c.asked()}
	answered := c.Answered()
	switch cut := c.cut(); {
	case len(answered) > 0:
		f.RTT, _ = answered[len(answered)-1].RTT()
		f.Value = Number(f.RTT)
		if len(c.Pairs) > 1 {
			median, _ := answered[(len(answered)-1)/2].RTT()
			f.Median = Number(median)
		}
	case cut == len(c.Pairs):
		f.Value = ValueCut
	case slices.ContainsFunc(c.Pairs, func(p *Pair) bool { return p.Verdict() == verify.Wrong }):
		f.Value = ValueNone
	case cut > 0:
		f.Value = ValueCut
	default:
		f.Value = ValueUnknown
	}
	switch {
	case c.Count(verify.Wrong) > 0:
		f.Mark = MarkOut
	case f.Value != ValueUnknown && !c.Pairs[0].isBlind && c.Count(verify.Unknown) == len(c.Pairs):
		f.Mark = MarkUnknown
	}
	return f
}

// asked says what is asked for: "+20", "+20±2", "+0..+20", "cut", "+20, 2 cut".
func (c *Cell) asked() string {
	cut := 0
	var all []verify.Asked
	for _, p := range c.Pairs {
		switch {
		case p.isBlind:
			return ""
		case p.Asked.Cut:
			cut++
		default:
			all = append(all, p.Asked)
		}
	}
	if len(all) == 0 {
		return ValueCut
	}
	byRTT := func(a, b verify.Asked) int { return cmp.Compare(a.RTT, b.RTT) }
	least, most := slices.MinFunc(all, byRTT), slices.MaxFunc(all, byRTT)
	text := ""
	if most.RTT > 0 {
		text = added(most)
		if least.RTT < most.RTT {
			text = added(least) + ".." + text
		}
	}
	if cut > 0 {
		text = strings.TrimPrefix(fmt.Sprintf("%s, %d cut", text, cut), ", ")
	}
	return text
}

func added(a verify.Asked) string {
	text := "+" + Short(a.RTT)
	if a.Spread > 0 {
		text += "±" + Short(a.Spread)
	}
	return text
}
