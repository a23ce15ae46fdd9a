package matrix

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// cell is a cell of a file.
type cell struct {
	row, column int // from 1
	// name is that of the column, or of the row and the column; empty if they have none.
	name string
	text string
}

// refusal is an error about a cell.
func (c cell) refusal(accepted string) error {
	name := ""
	if c.name != "" {
		name = " (" + c.name + ")"
	}
	return fmt.Errorf("row %d, column %d%s: %q: %s", c.row, c.column, name, api.Shorten(c.text), accepted)
}

// named returns the cell with a name.
func (c cell) named(name string) cell {
	c.name = name
	return c
}

// split returns the cells of each row that is not left out, of which there is at least one.
// No row is empty.
func split(content []byte) ([][]cell, error) {
	if len(content) > MaxSize {
		return nil, fmt.Errorf("it is longer than %d bytes", MaxSize)
	}
	if !utf8.Valid(content) {
		return nil, errors.New("it is no text in UTF-8")
	}
	content = indented.ReplaceAll(bytes.TrimPrefix(content, []byte("\ufeff")), nil)
	reader := csv.NewReader(bytes.NewReader(content))
	reader.Comment, reader.FieldsPerRecord, reader.TrimLeadingSpace = '#', -1, true
	var rows [][]cell
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if e, ok := errors.AsType[*csv.ParseError](err); ok {
			return nil, fmt.Errorf("%s: %w", place(e), e.Err)
		}
		if err != nil {
			return nil, err
		}
		row := make([]cell, len(record))
		for i, text := range record {
			line, _ := reader.FieldPos(i)
			row[i] = cell{row: line, column: i + 1, text: strings.TrimSpace(text)}
		}
		if !isLeftOut(row) {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return nil, errors.New("it is empty: " + headerAccepted)
	}
	return rows, nil
}

// indented is a comment that is not at the beginning of its line, where package csv looks.
var indented = regexp.MustCompile(`(?m)^[ \t\p{Zs}]+#.*$`)

// place says where a row is that can't be split: where it begins, since a quote that is left
// open takes the rows after it in.
func place(e *csv.ParseError) string {
	if e.Line != e.StartLine {
		return fmt.Sprintf("row %d and those after it", e.StartLine)
	}
	return fmt.Sprintf("row %d, byte %d", e.Line, e.Column)
}

// isLeftOut reports whether a row is empty or a comment, as spreadsheets write them.
func isLeftOut(row []cell) bool {
	for _, c := range row {
		if c.text != "" {
			return strings.HasPrefix(row[0].text, "#")
		}
	}
	return true
}

// headerAccepted is what the first row can be.
const headerAccepted = "want commas between cells, and a first row of " + pairsHeader + " for a list of pairs, or of all zones after a first cell for a square table"

// The names of zones, as a NetworkTopology takes them.
const zoneAccepted = "want the name of a zone of at most 63 characters: letters and digits, and between them also -, _ and ., such as us-east-1a"

var zoneName = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
