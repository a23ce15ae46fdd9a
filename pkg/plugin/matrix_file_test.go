package plugin_test

import (
	"context"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidelay/tidelay/e2e/madeup"
)

// A file that can't be written is found before anything is measured.
func TestMatrixFileThatCannotBe(t *testing.T) {
	folder := t.TempDir()
	taken := filepath.Join(folder, "taken")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, why := range map[string]string{
		folder:                        "it is a folder; want a file",
		filepath.Join(taken, "x.csv"): "there is no folder " + taken,
		"/proc/x.csv":                 "no file can be made in folder /proc: ",
		filepath.Join(folder, strings.Repeat("x", 300)): "file name too long",
	} {
		m := withAgents(t)
		m.instead = func(string, http.ResponseWriter, *http.Request) bool {
			t.Error("an agent is asked")
			return false
		}
		m.says(2, []string{"--file", path}, "error: --file \""+path+"\": "+why)
	}
}

// kept checks that a file has a text, with nothing else beside it; or with "" that it is not there.
func kept(t *testing.T, path, want string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil && want != "" || string(content) != want {
		t.Errorf("%q, %v; want %q", content, err, want)
	}
	all, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(all) > 1 || len(all) == 1 && want == "" {
		t.Errorf("in the folder: %v, %v", all, err)
	}
}

// Where measuring fails there is no new file, and an old one is as it was.
func TestMatrixFileWhenMeasuringFails(t *testing.T) {
	for _, before := range []string{"", "precious"} {
		path := filepath.Join(t.TempDir(), "matrix.html")
		if before != "" {
			if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		m := withAgents(t)
		for _, a := range m.all {
			a.Act(madeup.Way{Measure: madeup.Measuring{Old: true}})
		}
		m.says(1, []string{"-o", "html", "--file", path}, "0 of 56 pairs measured", "error: nothing was measured: ", "; nothing was written to "+path)
		kept(t, path, before)

		m = withAgents(t)
		ctx, cancel := context.WithCancel(t.Context())
		m.instead = func(string, http.ResponseWriter, *http.Request) bool {
			kept(t, path, before)
			cancel()
			return false
		}
		if status := m.run(ctx, "matrix", "basic", "--file", path); status != 1 || m.errOut.String() != "error: interrupted\n" {
			t.Errorf("exit status %d: %s", status, m.errOut.String())
		}
		kept(t, path, before)
	}
}

// What was measured is not lost when the file can't be written in the end.
func TestMatrixFileThatFails(t *testing.T) {
	const table = "56 of 56 pairs measured, nothing asked for and nothing added"
	m := withAgents(t)
	m.says(1, []string{"-o", "html", "--file", "/dev/full"}, table, "error: write /dev/full: no space left on device\n")
	path := filepath.Join(t.TempDir(), "gone", "matrix.html")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	var once atomic.Bool
	m.instead = func(string, http.ResponseWriter, *http.Request) bool {
		if once.CompareAndSwap(false, true) {
			if err := os.Remove(filepath.Dir(path)); err != nil {
				t.Error(err)
			}
		}
		return false
	}
	m.says(1, []string{"-o", "html", "--file", path}, table, "error: write "+path+": no such file or directory\n")
}

// A file that is there is replaced behind its link, and its rights stay.
func TestMatrixFileIsReplaced(t *testing.T) {
	folder := t.TempDir()
	path, link := filepath.Join(folder, "matrix.csv"), filepath.Join(t.TempDir(), "link.csv")
	if err := os.WriteFile(path, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	m := withAgents(t)
	m.says(0, []string{"-o", "csv", "--by", "zone", "--file", link}, "written to "+link)
	content, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(content), "east,west,0.3\n") {
		t.Errorf("%q, %v", content, err)
	}
	kept(t, path, string(content))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("%v, %v", info, err)
	}
}
