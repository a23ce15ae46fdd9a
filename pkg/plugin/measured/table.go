package measured

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

const (
	// columnGap is what is between columns.
	columnGap = 2
	// maxColumns is how many columns are beside each other, so that a line of pods fits into
	// about 120 characters. Further ones come below, as R prints matrices.
	maxColumns = 12
	// maxLines is how many pairs a list names.
	maxLines = 10
)

// Style writes the words that should be seen first.
type Style interface {
	// Bad returns a text, marked or as it is.
	Bad(text string) string
}

// Write writes a grid for people.
func (g *Grid) Write(w io.Writer, style Style) error {
	var text strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&text, format+"\n", args...) }
	line("TidbCluster %s/%s: round trips in ms, %s", g.Namespace, g.Cluster, g.what())
	for _, o := range g.InForce {
		line("in force: %s", o)
	}
	if g.IsAskedKnown && len(g.InForce) == 0 {
		line("in force: nothing")
	}
	for _, unseen := range g.Unseen {
		line("%s", unseen)
	}
	for first := 0; first < len(g.Groups); first += maxColumns {
		line("")
		g.panel(&text, first, min(first+maxColumns, len(g.Groups)))
	}
	line("")
	for _, legend := range g.legend() {
		line("%s", legend)
	}
	line("%s", g.Summary())
	if longest := g.Longest(1); len(longest) > 0 {
		line("longest: %s to %s: %s", longest[0].From, longest[0].To, longest[0].Words())
	}
	if p, off := g.Furthest(); p != nil {
		line("furthest off: %s to %s: %s, %s ms off", p.From, p.To, p.Words(), Number(off))
	}
	out := g.Out()
	for _, p := range out[:min(len(out), maxLines)] {
		line("%s", style.Bad(fmt.Sprintf("out of tolerance: %s to %s: %s", p.From, p.To, p.Why())))
	}
	more(line, len(out))
	unknown := g.Unknown()
	for _, why := range unknown[:min(len(unknown), maxLines)] {
		line("not known: %s", why)
	}
	more(line, len(unknown))
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("write matrix: %w", err)
	}
	return nil
}

func more(line func(string, ...any), n int) {
	if n > maxLines {
		line("and %d more", n-maxLines)
	}
}

// what says what a number is.
func (g *Grid) what() string {
	if g.By == ByPod {
		return "from the pod of the row to that of the column"
	}
	return fmt.Sprintf("longest / median of the pairs, from the %s of the row to that of the column", g.By)
}

// panel writes some columns: a row with what was measured, and below it what is asked for.
func (g *Grid) panel(w io.Writer, first, end int) {
	var aligned strings.Builder
	t := tabwriter.NewWriter(&aligned, 0, 8, columnGap, ' ', 0)
	row := func(head string, cells []string) { _, _ = fmt.Fprintln(t, head+"\t"+strings.Join(cells, "\t")) }
	var heads []string
	for _, to := range g.Groups[first:end] {
		heads = append(heads, to.Short)
	}
	row("", heads)
	for i, from := range g.Groups {
		var measured, asked []string
		for j := first; j < end; j++ {
			f := g.Cells[i][j].Face()
			value := f.Value + f.Mark
			if f.Median != "" {
				value += " / " + f.Median
			}
			measured, asked = append(measured, value), append(asked, f.Asked)
		}
		row(from.Short, measured)
		if slices.ContainsFunc(asked, func(text string) bool { return text != "" }) {
			row("  asked", asked)
		}
	}
	_ = t.Flush() // a strings.Builder takes everything
	for line := range strings.Lines(aligned.String()) {
		_, _ = fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}

// Tolerance says how far a round trip may be from what is asked for.
func (*Grid) Tolerance() string { return verify.Tolerance() }

// legend says what the marks and words mean that are used.
func (g *Grid) legend() []string {
	used := map[string]bool{}
	for i := range g.Cells {
		for j := range g.Cells[i] {
			f := g.Cells[i][j].Face()
			used["value "+f.Value], used["mark "+f.Mark], used["asked"] = true, true, used["asked"] || f.Asked != ""
		}
	}
	var all []string
	for _, one := range []struct{ key, text string }{
		{"asked", "+   added to the round trip, as asked for"},
		{"mark " + MarkOut, "!   out of tolerance"},
		{"value " + ValueCut, "cut no answer, as a partition asks for"},
		{"value " + ValueNone, "none no answer, and one is asked for"},
		{"mark " + MarkUnknown, "20? measured, and nothing can be said of it"},
		{"value " + ValueUnknown, "?   not measured"},
	} {
		if used[one.key] {
			all = append(all, one.text)
		}
	}
	if g.IsAskedKnown {
		all = append(all, "in tolerance: "+g.Tolerance())
	}
	return all
}
