package plugin

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/tidelay/tidelay/pkg/plugin/heatmap"
	"github.com/tidelay/tidelay/pkg/plugin/measured"
)

// printMatrix prints to the output, or writes to the file. Where the file can't be written, a
// table is printed, so that what was measured is not lost.
func (a *app) printMatrix(m *measured.Matrix, f *matrixFlags) error {
	grid := a.gridOf(m, f)
	content, err := a.encodeGrid(grid, f)
	if err != nil {
		return err
	}
	if f.out == nil {
		if _, err := a.Out.Write(content); err != nil {
			return fmt.Errorf("write matrix: %w", err)
		}
		return nil
	}
	if err := f.out.write(content); err != nil {
		return errors.Join(grid.Write(a.Out, a), err)
	}
	_, _ = fmt.Fprintf(a.ErrOut, "written to %s\n", f.file)
	return nil
}

// gridOf makes a grid by what was asked for, or else by what fits.
func (a *app) gridOf(m *measured.Matrix, f *matrixFlags) *measured.Grid {
	by := measured.By(f.by)
	if by == "" {
		by = measured.ByPod
		if f.output == "table" && len(m.Pods) > mostPods {
			by = measured.ByComponent
			_, _ = fmt.Fprintf(a.ErrOut, "%d pods: shown by component; --by pod shows all, and so do -o html and -o csv\n", len(m.Pods))
		}
	}
	return m.By(by)
}

// encodeGrid returns a grid in the format that was asked for.
func (a *app) encodeGrid(grid *measured.Grid, f *matrixFlags) ([]byte, error) {
	var content bytes.Buffer
	words := *a
	words.Out = &content
	words.NoColor = a.NoColor || f.out != nil
	var err error
	switch f.output {
	case "json", "yaml":
		err = words.encode(grid.Document(), f.output)
	case "csv":
		err = grid.WriteCSV(&content)
	case "html":
		err = heatmap.Write(&content, grid)
	default:
		err = grid.Write(&content, &words)
	}
	return content.Bytes(), err
}
