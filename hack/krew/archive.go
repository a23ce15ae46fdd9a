package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// entry is a file in an archive.
type entry struct {
	name    string
	mode    fs.FileMode
	content []byte
}

// written is when each file in an archive was written: the first moment that a zip knows.
func written() time.Time { return time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC) }

// pack returns the archive of a program.
func (r *release) pack(p program) ([]byte, error) {
	content, err := os.ReadFile(p.path)
	if err != nil {
		return nil, fmt.Errorf("read program: %w", err)
	}
	entries := []entry{{p.name(), 0o755, content}}
	for _, file := range r.with {
		info, err := os.Stat(file)
		if err != nil {
			return nil, fmt.Errorf("find file: %w", err)
		}
		if content, err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("read file: %w", err)
		}
		mode := fs.FileMode(0o644)
		if info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		entries = append(entries, entry{filepath.Base(file), mode, content})
	}
	if p.os == "windows" {
		return zipped(entries)
	}
	return tarred(entries)
}

func tarred(entries []entry) ([]byte, error) {
	var out bytes.Buffer
	compressed := gzip.NewWriter(&out)
	archive := tar.NewWriter(compressed)
	for _, e := range entries {
		header := &tar.Header{Name: e.name, Mode: int64(e.mode), Size: int64(len(e.content)), ModTime: written(), Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("add %s: %w", e.name, err)
		}
		if _, err := archive.Write(e.content); err != nil {
			return nil, fmt.Errorf("add %s: %w", e.name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("end archive: %w", err)
	}
	if err := compressed.Close(); err != nil {
		return nil, fmt.Errorf("end archive: %w", err)
	}
	return out.Bytes(), nil
}

func zipped(entries []entry) ([]byte, error) {
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	for _, e := range entries {
		header := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: written()}
		header.SetMode(e.mode)
		file, err := archive.CreateHeader(header)
		if err != nil {
			return nil, fmt.Errorf("add %s: %w", e.name, err)
		}
		if _, err := file.Write(e.content); err != nil {
			return nil, fmt.Errorf("add %s: %w", e.name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("end archive: %w", err)
	}
	return out.Bytes(), nil
}
