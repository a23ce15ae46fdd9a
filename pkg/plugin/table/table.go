// Package table writes lines of cells for people, as kubectl does.
//
// The package is pure.
package table

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"
)

// gap is what is between columns, as kubectl has it.
const gap = 3

// Style is how words are written that should be seen first.
type Style interface {
	// Good and Bad return a text, marked or as it is.
	Good(text string) string
	Bad(text string) string
}

// Line writes a line of cells, which are parted by tabs.
type Line func(format string, args ...any)

// Write writes lines whose cells stand below each other.
func Write(w io.Writer, lines func(Line)) error {
	t := tabwriter.NewWriter(w, 0, 8, gap, ' ', 0)
	lines(func(format string, args ...any) { _, _ = fmt.Fprintf(t, format+"\n", args...) })
	return t.Flush()
}

// Dash returns what is in a cell: a dash for nothing.
func Dash(text string) string { return cmp.Or(text, "-") }
