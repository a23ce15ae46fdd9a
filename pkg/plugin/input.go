package plugin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
)

// maxFile is how long a file may be, in bytes.
const maxFile = 32 << 20

// readFile reads a file, or standard input for "-". It does not outlast ctx: nobody may ever
// write to a terminal or a pipe, and a read of one can't be ended.
func (a *app) readFile(ctx context.Context, path string) ([]byte, error) {
	type read struct {
		content []byte
		err     error
	}
	done := make(chan read, 1)
	go func() {
		content, err := a.readWhole(path)
		done <- read{content, err}
	}()
	select {
	case <-ctx.Done():
		return nil, errInterrupted
	case r := <-done:
		return r.content, r.err
	}
}

func (a *app) readWhole(path string) ([]byte, error) {
	in, name := a.In, "standard input"
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read file: %w", err)
		}
		defer file.Close()
		in, name = file, path
	}
	content, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read file: %w", err)
	case len(content) > maxFile:
		return nil, fmt.Errorf("%s is longer than %d MiB", name, maxFile>>20)
	case len(bytes.TrimSpace(content)) == 0:
		return nil, fmt.Errorf("%s is empty", name)
	}
	return content, nil
}
