// Package heatmap writes round trips between pods as one HTML file, for a report. It fetches
// nothing and has no script. Colours are one hue by how long a round trip is, in dark and
// light; what is out of tolerance has a mark, a frame and bold text too.
//
// The package is pure.
package heatmap

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/networkfault/verify"
	"github.com/tidelay/tidelay/pkg/plugin/measured"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

//go:embed heatmap.html heatmap.css
var files embed.FS

// Write writes a grid as HTML.
func Write(w io.Writer, g *measured.Grid) error {
	style, err := files.ReadFile("heatmap.css")
	if err != nil {
		return fmt.Errorf("read style: %w", err)
	}
	page, err := template.ParseFS(files, "heatmap.html")
	if err != nil {
		return fmt.Errorf("parse template: %w", err)
	}
	if err := page.Execute(w, newView(g, template.CSS(style))); err != nil {
		return fmt.Errorf("write HTML: %w", err)
	}
	return nil
}

// steps are where a colour of the ramp ends, so that reports can be compared.
func steps() []time.Duration {
	const ms = time.Millisecond
	return []time.Duration{ms, 5 * ms, 20 * ms, 50 * ms, 100 * ms, 200 * ms}
}

// step is the place of a round trip in the ramp.
func step(rtt time.Duration) int {
	i := 0
	for _, end := range steps() {
		if rtt >= end {
			i++
		}
	}
	return i
}

const (
	// mostLarge and mostMedium are how many rows there are at most with large cells, and with
	// medium ones.
	mostLarge, mostMedium = 10, 24
	// mostListed is how many pairs a list names, and mostLongest how many of the longest.
	mostListed, mostLongest = 20, 5
)

// view is what the template shows.
type view struct {
	*measured.Grid
	Style   template.CSS
	Size    string // large, medium or small
	Time    string
	Blocks  []block
	Ramp    []string
	Rows    []row
	Has     map[string]bool // which legends are needed
	Worst   []line
	MoreOut int
	Long    []line
	Known   []string // what is not known
	More    int      // what is not known besides
}

// block is the heading of neighbouring columns.
type block struct {
	Name    string
	Columns int
}

// row is a row of the map.
type row struct {
	measured.Group
	Zone    string
	IsFirst bool // of a block
	Cells   []cell
}

// cell is a cell of the map.
type cell struct {
	measured.Face
	Class, Title string
	IsOut        bool
}

// line is a pair in a list.
type line struct{ From, To, Measured, Baseline, Asked, Why string }

func newView(g *measured.Grid, style template.CSS) *view {
	v := &view{Grid: g, Style: style, Size: "small", Time: g.At.UTC().Format("2006-01-02 15:04 UTC"), Ramp: ramp(), Has: map[string]bool{}}
	switch n := len(g.Groups); {
	case n <= mostLarge:
		v.Size = "large"
	case n <= mostMedium:
		v.Size = "medium"
	}
	for i, group := range g.Groups {
		r := row{Group: group, IsFirst: v.isFirst(i)}
		r.Zone, _ = strings.CutPrefix(group.Block, "zone ")
		if r.Zone == group.Block {
			r.Zone = ""
		}
		if n := len(v.Blocks); r.IsFirst || n == 0 {
			v.Blocks = append(v.Blocks, block{group.Block, 1})
		} else {
			v.Blocks[n-1].Columns++
		}
		for j := range g.Cells[i] {
			r.Cells = append(r.Cells, v.cell(&g.Cells[i][j], v.isFirst(j)))
		}
		v.Rows = append(v.Rows, r)
	}
	v.lists()
	return v
}

// isFirst reports whether a group is the first of a block that is not the first of all.
func (v *view) isFirst(i int) bool { return i > 0 && v.Groups[i].Block != v.Groups[i-1].Block }

func (v *view) cell(c *measured.Cell, isFirst bool) cell {
	one := cell{Face: c.Face()}
	if v.Size == "small" { // what chance may add is in the title
		one.Asked, _, _ = strings.Cut(one.Asked, "±")
	}
	one.IsOut = one.Mark == measured.MarkOut
	switch {
	case c.IsEmpty():
		one.Class = "self"
	case one.RTT > 0:
		one.Class = fmt.Sprintf("s%d", step(one.RTT))
	case one.Value == measured.ValueUnknown:
		one.Class = "unknown"
	default:
		one.Class = "cut"
	}
	v.Has["value "+one.Value], v.Has["mark "+one.Mark] = true, true
	v.Has["asked"] = v.Has["asked"] || one.Asked != ""
	v.Has["median"] = v.Has["median"] || one.Median != ""
	if one.IsOut {
		one.Class += " out"
	}
	if isFirst {
		one.Class += " edge"
	}
	if !c.IsEmpty() {
		one.Title = title(c)
	}
	return one
}

// title says in words what a cell shows.
func title(c *measured.Cell) string {
	if len(c.Pairs) == 1 {
		p := c.Pairs[0]
		text := fmt.Sprintf("%s to %s: %s", p.From, p.To, p.Words())
		if p.Verdict() == verify.Wrong {
			text += ", out of tolerance"
		}
		return text
	}
	text := fmt.Sprintf("%s to %s: %s", c.From, c.To, tidbcluster.Plural(len(c.Pairs), "pair"))
	if answered := c.Answered(); len(answered) > 0 {
		p := answered[len(answered)-1]
		text += fmt.Sprintf(", the longest %s to %s: %s", p.From, p.To, p.Words())
	}
	if n := c.Count(verify.Wrong); n > 0 {
		text += fmt.Sprintf("; %d out of tolerance", n)
	}
	return text
}

// ramp names the colours of the ramp.
func ramp() []string {
	all := []string{"less than 1"}
	ends := steps()
	for i, end := range ends {
		if i == len(ends)-1 {
			return append(all, measured.Short(end)+" and more")
		}
		all = append(all, measured.Short(end)+" to "+measured.Short(ends[i+1]))
	}
	return all
}

// lists fills in the lists below the map.
func (v *view) lists() {
	out := v.Out()
	for _, p := range out[:min(len(out), mostListed)] {
		v.Worst = append(v.Worst, lineOf(p))
	}
	v.MoreOut = len(out) - len(v.Worst)
	for _, p := range v.Longest(mostLongest) {
		v.Long = append(v.Long, lineOf(p))
	}
	v.Known = v.Unknown()
	if n := len(v.Known); n > mostListed {
		v.Known, v.More = v.Known[:mostListed], n-mostListed
	}
}

func lineOf(p *measured.Pair) line {
	rtt, baseline := p.RTT()
	c := measured.Cell{Pairs: []*measured.Pair{p}}
	f := c.Face()
	l := line{From: p.From, To: p.To, Measured: "no answer", Baseline: "-", Asked: f.Asked, Why: p.Why()}
	if rtt > 0 {
		l.Measured = measured.Number(rtt)
	}
	if baseline > 0 {
		l.Baseline = measured.Number(baseline)
	}
	if l.Asked == "" {
		l.Asked = "-"
	}
	return l
}
