package matrix

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// What a file may have at most.
const (
	// MaxSize is its size in bytes.
	MaxSize = 1 << 20
	// MaxZones is how many zones it may name, as a NetworkTopology may.
	MaxZones = 16
)

// Matrix is what is between zones.
type Matrix struct {
	// Zones are from 2 to MaxZones, in the order in which the file names them.
	Zones []string
	// Links are at least one, and valid in a NetworkTopology. They are in the order of
	// Zones. A link that is the same in both orders is there once.
	Links []v1alpha1.Link
}

// Read reads a file of either form. The error names each cell that is wrong, of many the
// first ones, by row and column, with its value and what is accepted. Rows count from 1, as
// editors and spreadsheets do, with those that are left out.
func Read(r io.Reader) (Matrix, error) {
	content, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return Matrix{}, fmt.Errorf("read matrix: %w", err)
	}
	rows, err := split(content)
	if err != nil {
		return Matrix{}, fmt.Errorf("parse matrix: %w", err)
	}
	t := table{links: map[way]entry{}}
	if isPairs(rows[0]) {
		t.readPairs(rows)
	} else {
		t.readSquare(rows)
	}
	if len(t.wrong) == 0 {
		t.checkWhole()
	}
	if err := errors.Join(t.wrong...); err != nil {
		return Matrix{}, fmt.Errorf("parse matrix: %w", err)
	}
	return Matrix{Zones: t.zones, Links: t.sorted()}, nil
}

// table is a file that is being read.
type table struct {
	zones []string // in order of appearance
	links map[way]entry
	wrong []error
}

// way is from a zone to another one, or to itself.
type way struct{ from, to string }

// entry is what is on a way, and where the file says so.
type entry struct {
	link v1alpha1.Link
	row  int
}

// mostErrors is how many errors are told; a file that is no matrix has one in each cell.
const mostErrors = 10

// refuse notes that a cell is wrong.
func (t *table) refuse(c cell, accepted string) {
	switch {
	case len(t.wrong) < mostErrors:
		t.wrong = append(t.wrong, c.refusal(accepted))
	case len(t.wrong) == mostErrors:
		t.wrong = append(t.wrong, errors.New("and more"))
	}
}

// zone reads the name of a zone. It returns "" for a name that is wrong.
func (t *table) zone(c cell) string {
	if !zoneName.MatchString(c.text) {
		t.refuse(c, zoneAccepted)
		return ""
	}
	if !slices.Contains(t.zones, c.text) {
		if len(t.zones) == MaxZones {
			t.refuse(c, fmt.Sprintf("want at most %d zones, and this is one more", MaxZones))
			return ""
		}
		t.zones = append(t.zones, c.text)
	}
	return c.text
}

// add adds a link. Zones that are wrong are "".
func (t *table) add(from, to string, link v1alpha1.Link, at cell) {
	if from == "" || to == "" {
		return
	}
	link.Between = []v1alpha1.ZoneName{v1alpha1.ZoneName(from), v1alpha1.ZoneName(to)}
	if before, ok := t.links[way{from, to}]; ok {
		t.refuse(at, fmt.Sprintf("row %d is from %s to %s too: want each pair once in one order", before.row, from, to))
		return
	}
	t.links[way{from, to}] = entry{link, at.row}
}

// checkWhole checks what is no single cell's fault.
func (t *table) checkWhole() {
	switch {
	case len(t.zones) < 2:
		t.wrong = append(t.wrong, errors.New("it names fewer than two zones: want at least two"))
	case len(t.links) == 0:
		t.wrong = append(t.wrong, errors.New("nothing is between its zones: want at least one round trip"))
	}
}

// sorted returns the links in order of their zones. Where both orders say the same, it is
// the link whose first zone comes first.
func (t *table) sorted() []v1alpha1.Link {
	place := make(map[string]int, len(t.zones))
	for i, zone := range t.zones {
		place[zone] = i
	}
	var ways []way
	for w, e := range t.links {
		back, ok := t.links[way{w.to, w.from}]
		if ok && place[w.from] > place[w.to] && isSame(e.link, back.link) {
			continue
		}
		ways = append(ways, w)
	}
	slices.SortFunc(ways, func(a, b way) int {
		return cmp.Or(place[a.from]-place[b.from], place[a.to]-place[b.to])
	})
	links := make([]v1alpha1.Link, 0, len(ways))
	for _, w := range ways {
		links = append(links, t.links[w].link)
	}
	return links
}

// isSame reports whether two links do the same to packets.
func isSame(a, b v1alpha1.Link) bool {
	loss := func(l v1alpha1.Link) v1alpha1.Percent {
		if l.Loss == nil {
			return 0
		}
		return *l.Loss.Percent
	}
	rate := func(l v1alpha1.Link) string {
		if l.Rate == nil {
			return ""
		}
		return l.Rate.PerSecond
	}
	return a.RTT == b.RTT && a.Jitter == b.Jitter && loss(a) == loss(b) && rate(a) == rate(b)
}
