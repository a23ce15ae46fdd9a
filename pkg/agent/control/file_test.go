package control

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// page is a page that begins with a word.
func page(word string) []byte { return padded([]byte(word)) }

func TestOnePageIsWrittenInPlace(t *testing.T) {
	long := append(page("long"), page(" ")...)
	for name, c := range map[string]struct {
		put     func(path string) error
		content []byte
		inPlace bool
	}{
		"no file":                {func(string) error { return nil }, page("new"), false},
		"a page over a page":     {func(path string) error { return os.WriteFile(path, page("old"), 0o600) }, page("new"), true},
		"a page over an empty":   {func(path string) error { return os.WriteFile(path, nil, 0o600) }, page("new"), false},
		"a page over two":        {func(path string) error { return os.WriteFile(path, long, 0o600) }, page("new"), false},
		"two pages over one":     {func(path string) error { return os.WriteFile(path, page("old"), 0o600) }, long, false},
		"two pages over two":     {func(path string) error { return os.WriteFile(path, long, 0o600) }, append(page("new"), page(" ")...), false},
		"a pipe without readers": {func(path string) error { return syscall.Mkfifo(path, 0o600) }, page("new"), false},
		"a link": {func(path string) error {
			return errors.Join(os.WriteFile(path+".other", page("other"), 0o600), os.Symlink(path+".other", path))
		}, page("new"), false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.json")
			if err := c.put(path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path)
			if err := writeFile(path, bytes.Clone(c.content)); err != nil {
				t.Fatal(err)
			}
			after, err := os.Lstat(path)
			if err != nil || !after.Mode().IsRegular() || os.SameFile(before, after) != c.inPlace {
				t.Errorf("%v, %v; want the same file: %t", after, err, c.inPlace)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, c.content) {
				t.Errorf("content %.20q of %d bytes, %v", got, len(got), err)
			}
			if other, err := os.ReadFile(path + ".other"); err == nil && !bytes.Equal(other, page("other")) {
				t.Errorf("the file that a link led to has %.20q", other)
			}
		})
	}
}

// writerPath is the file that a test binary writes without end, if it is set.
const writerPath = "TIDELAY_TEST_WRITER"

// A writer that is killed leaves the old page or the new.
func TestAKilledWriterLeavesAWholePage(t *testing.T) {
	contents := [][]byte{bytes.Repeat([]byte("a"), pageSize), bytes.Repeat([]byte("b"), pageSize)}
	if path := os.Getenv(writerPath); path != "" {
		for i := 0; ; i++ {
			if err := writeFile(path, contents[i%2]); err != nil {
				t.Fatal(err)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "state.json")
	for range 30 {
		writer := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		writer.Env = append(os.Environ(), writerPath+"="+path)
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := writer.Start(); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); ; { // until it writes
			if got, err := os.ReadFile(path); err == nil && len(got) > 0 && got[0] == 'b' {
				break
			}
			if time.Since(began) > 10*time.Second {
				t.Fatal("the writer does not write")
			}
		}
		if err := writer.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = writer.Wait() // it was killed
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, contents[0]) && !bytes.Equal(got, contents[1]) {
			t.Fatalf("%d a, %d b, %v", strings.Count(string(got), "a"), strings.Count(string(got), "b"), err)
		}
	}
}
