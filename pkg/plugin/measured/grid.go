package measured

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

// By is what a grid has rows and columns of.
type By string

// What a grid can have rows and columns of.
const (
	ByPod       By = "pod"
	ByComponent By = "component"
	ByZone      By = "zone"
)

// Bys lists what a grid can have rows and columns of.
func Bys() []string { return []string{string(ByPod), string(ByComponent), string(ByZone)} }

// noZone is the group of pods without a zone.
const noZone = "(no zone)"

// Grid is a matrix by pods, components or zones.
type Grid struct {
	*Matrix
	By     By
	Groups []Group
	// Cells has the pairs from each group, the row, to each group, the column.
	Cells [][]Cell
	// Prefix is what all pods' names begin with, and is left out of Group.Short.
	Prefix string
}

// Group is a row and a column of a grid.
type Group struct {
	Name, Short string
	// Block is what a pod is put together with: its zone if a topology is in force, or else
	// its component; "" for other groups.
	Block string
}

// Cell is the ordered pairs from one group to another; of one pod to itself there is none.
type Cell struct {
	From, To string
	Pairs    []*Pair
}

// HasZones reports whether the zone of any pod is known.
func (m *Matrix) HasZones() bool {
	return slices.ContainsFunc(m.Pods, func(p Pod) bool { return p.Zone != "" })
}

// By makes a grid.
func (m *Matrix) By(by By) *Grid {
	g := &Grid{Matrix: m, By: by}
	group := func(p Pod) string {
		switch by {
		case ByComponent:
			return string(p.Component)
		case ByZone:
			return cmp.Or(p.Zone, noZone)
		default:
			return p.Name
		}
	}
	if by == ByPod {
		g.Prefix = m.prefix()
	}
	place, groupOf := map[string]int{}, map[string]string{}
	for _, p := range m.Pods {
		name := group(p)
		groupOf[p.Name] = name
		if _, has := place[name]; !has {
			place[name] = 0
			g.Groups = append(g.Groups, Group{name, strings.TrimPrefix(name, g.Prefix), m.block(by, p)})
		}
	}
	if by == ByZone {
		slices.SortFunc(g.Groups, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
	}
	for i, from := range g.Groups {
		place[from.Name] = i
		g.Cells = append(g.Cells, make([]Cell, len(g.Groups)))
		for j, to := range g.Groups {
			g.Cells[i][j] = Cell{From: from.Name, To: to.Name}
		}
	}
	for _, p := range m.Pairs {
		c := &g.Cells[place[groupOf[p.From]]][place[groupOf[p.To]]]
		c.Pairs = append(c.Pairs, p)
	}
	return g
}

// block is what a pod is put together with.
func (m *Matrix) block(by By, p Pod) string {
	switch {
	case by != ByPod:
		return ""
	case m.isZoned:
		return "zone " + cmp.Or(p.Zone, "-")
	default:
		return string(p.Component)
	}
}

// prefix is what the names of all pods begin with, up to a hyphen.
func (m *Matrix) prefix() string {
	if len(m.Pods) < 2 {
		return ""
	}
	prefix := m.Pods[0].Name
	for _, p := range m.Pods {
		for !strings.HasPrefix(p.Name, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	if isOneSet := strings.HasPrefix(prefix, m.Cluster+"-"); isOneSet {
		return m.Cluster + "-" // and not the component's name too
	}
	return prefix[:strings.LastIndexByte(prefix, '-')+1]
}

// IsEmpty reports whether there are no pairs.
func (c *Cell) IsEmpty() bool { return len(c.Pairs) == 0 }

// Count is how many pairs have a verdict.
func (c *Cell) Count(v verify.Verdict) int {
	n := 0
	for _, p := range c.Pairs {
		if p.Verdict() == v {
			n++
		}
	}
	return n
}

// Answered returns the pairs with a round trip, the shortest first.
func (c *Cell) Answered() []*Pair {
	all := slices.DeleteFunc(slices.Clone(c.Pairs), func(p *Pair) bool { rtt, _ := p.RTT(); return rtt == 0 })
	slices.SortStableFunc(all, func(a, b *Pair) int {
		rttA, _ := a.RTT()
		rttB, _ := b.RTT()
		return cmp.Compare(rttA, rttB)
	})
	return all
}

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

// cut is how many pairs have no answer, as asked.
func (c *Cell) cut() int {
	n := 0
	for _, p := range c.Pairs {
		if p.IsCut() {
			n++
		}
	}
	return n
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
