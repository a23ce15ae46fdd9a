package matrix

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// pairsHeader is the first row of a list of pairs.
const pairsHeader = "from,to,rtt_ms[,jitter_ms,loss_percent,rate_mbit]"

// The columns that a list of pairs must have, in order, and those that it may have.
const (
	columnFrom   = "from"
	columnTo     = "to"
	columnRTT    = "rtt_ms"
	columnJitter = "jitter_ms"
	columnLoss   = "loss_percent"
	columnRate   = "rate_mbit"
)

// isPairs reports whether a first row is that of a list of pairs, be it a wrong one.
func isPairs(header []cell) bool {
	return len(header) >= 2 && strings.EqualFold(header[0].text, columnFrom) && strings.EqualFold(header[1].text, columnTo)
}

// readPairs reads a list of pairs, of which the first row is the header.
func (t *table) readPairs(rows [][]cell) {
	names := t.readColumns(rows[0])
	if len(t.wrong) > 0 {
		return // the cells of a column that is not known mean nothing
	}
	for _, row := range rows[1:] {
		if !t.hasCells(row, len(names)) {
			continue
		}
		at := func(name string) cell {
			if i := slices.Index(names, name); i >= 0 {
				return row[i].named(name)
			}
			return cell{}
		}
		from, to := t.zone(at(columnFrom)), t.zone(at(columnTo))
		link := v1alpha1.Link{Loss: t.loss(at(columnLoss)), Rate: t.rate(at(columnRate))}
		link.RTT, link.Jitter = t.times(at(columnRTT), at(columnJitter))
		t.add(from, to, link, at(columnTo))
	}
}

// readColumns returns the names of the columns.
func (t *table) readColumns(header []cell) []string {
	if len(header) < 3 {
		t.refuse(header[len(header)-1], "want the column "+columnRTT+" after it: "+pairsHeader)
		return nil
	}
	var names []string
	for i, c := range header {
		name := strings.ToLower(c.text)
		isKnown := slices.Contains([]string{columnJitter, columnLoss, columnRate}, name)
		if i <= 2 {
			isKnown = name == []string{columnFrom, columnTo, columnRTT}[i]
		}
		if !isKnown || slices.Contains(names, name) {
			t.refuse(c, "want each column once: "+pairsHeader)
		}
		names = append(names, name)
	}
	return names
}

// readSquare reads a square table, of which the first row has the zones.
func (t *table) readSquare(rows [][]cell) {
	header := rows[0]
	if len(header) < 3 {
		t.refuse(header[len(header)-1], headerAccepted)
		return
	}
	for _, c := range header[1:] {
		if slices.Contains(t.zones, c.text) {
			t.refuse(c, "want each zone once")
		}
		t.zone(c)
	}
	if len(t.wrong) > 0 {
		return // the cells of a zone that is not known mean nothing
	}
	var seen []string
	for _, row := range rows[1:] {
		switch from := row[0].text; {
		case !slices.Contains(t.zones, from):
			t.refuse(row[0], "want a zone of the first row: "+strings.Join(t.zones, ", "))
		case slices.Contains(seen, from):
			t.refuse(row[0], "want one row of each zone")
		case t.hasCells(row, len(header)):
			t.readRow(from, row)
		}
		seen = append(seen, row[0].text)
	}
	for _, c := range header[1:] {
		if !slices.Contains(seen, c.text) {
			t.refuse(c, "want a row of this zone too, in a square table; a list of pairs has a first row of "+pairsHeader)
		}
	}
}

// readRow reads what is from a zone to each other one.
func (t *table) readRow(from string, row []cell) {
	for i, to := range t.zones {
		c := row[i+1].named(from + " to " + to)
		if c.text == "" {
			continue
		}
		text, _, _ := t.milliseconds(c, rttAccepted)
		t.add(from, to, v1alpha1.Link{RTT: v1alpha1.RoundTrip(text)}, c)
	}
}

// hasCells reports whether a row has as many cells as the first one.
func (t *table) hasCells(row []cell, want int) bool {
	if len(row) == want {
		return true
	}
	last := row[len(row)-1]
	if len(row) > want {
		last = row[want]
	}
	t.refuse(last, fmt.Sprintf("the row has %d cells: want %d as in the first row", len(row), want))
	return false
}
