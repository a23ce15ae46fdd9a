package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// machines returns the architectures an image can be for.
func machines() map[string]elf.Machine {
	return map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
}

// check refuses a program that can't run in an image for p with nothing else in
// it: it must be for p and static.
func check(p v1.Platform, program string) error {
	want, ok := machines()[p.Architecture]
	if !ok || p.OS != "linux" {
		return errors.New("want linux/amd64 or linux/arm64")
	}
	f, err := elf.Open(program)
	if err != nil {
		return fmt.Errorf("read program: %w", err)
	}
	defer func() { _ = f.Close() }()
	if f.Machine != want {
		return fmt.Errorf("%s is for %s, want %s", program, f.Machine, want)
	}
	for _, segment := range f.Progs {
		if segment.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is not static", program)
		}
	}
	return nil
}

// programLayer returns an uncompressed layer: program, at the absolute path at,
// and symbolic links to it, at the absolute paths links. The same files give
// the same bytes.
func programLayer(program, at string, links []string) ([]byte, error) {
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, fmt.Errorf("read program: %w", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	headers := []*tar.Header{{Name: inTar(at), Mode: 0o755, Size: int64(len(content))}}
	for _, link := range links {
		headers = append(headers, &tar.Header{Typeflag: tar.TypeSymlink, Name: inTar(link), Linkname: at, Mode: 0o777})
	}
	for _, h := range headers {
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("write %s: %w", h.Name, err)
		}
		if h.Size == 0 {
			continue
		}
		if _, err := w.Write(content); err != nil {
			return nil, fmt.Errorf("write %s: %w", h.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("write layer: %w", err)
	}
	return b.Bytes(), nil
}

// inTar returns the name that an absolute path has in a layer.
func inTar(p string) string { return strings.TrimPrefix(path.Clean(p), "/") }
