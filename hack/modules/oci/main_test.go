package main

import (
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// program returns this command itself, compiled static.
func program(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	build := exec.Command("go", "build", "-o", file, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, said)
	}
	return file
}

// dynamic returns a copy of a static program whose first segment asks for a
// dynamic linker.
func dynamic(t *testing.T, static string) string {
	t.Helper()
	content := must(os.ReadFile(static))(t)
	const programHeaders = 32 // offset of e_phoff in an ELF64 header
	first := binary.LittleEndian.Uint64(content[programHeaders:])
	binary.LittleEndian.PutUint32(content[first:], uint32(elf.PT_INTERP))
	file := filepath.Join(t.TempDir(), "dynamic")
	if err := os.WriteFile(file, content, 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

func wantError(t *testing.T, says string, args ...string) {
	t.Helper()
	err := run(args)
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("%v: error %v, want one that says %q", args, err, says)
	}
}

func TestUsage(t *testing.T) {
	wantError(t, "usage: oci layout|archive")
	wantError(t, "usage: oci layout|archive", "save")
	wantError(t, "usage: oci layout FILE", "layout", "image.tar", "tidelay/agent:dev")
}
