package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var allPlatforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"}

const base = "https://example.com/releases/v1.2.3"

// build packs made-up programs, and returns the folder.
func build(t *testing.T) string {
	t.Helper()
	dist, src := t.TempDir(), t.TempDir()
	args := []string{"-version", "v1.2.3", "-url", base + "/", "-dist", dist, "-with", "../../LICENSE", "-with", "../../pkg/plugin/kubectl_complete-tidelay"}
	for _, platform := range allPlatforms {
		file := filepath.Join(src, strings.ReplaceAll(platform, "/", "-"))
		if err := os.WriteFile(file, []byte("program of "+platform), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, platform+"="+file)
	}
	if err := run(args); err != nil {
		t.Fatal(err)
	}
	return dist
}

func read(t *testing.T, dist, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dist, name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// unpack returns the files of an archive with their modes.
func unpack(t *testing.T, name string, content []byte) map[string]entry {
	t.Helper()
	all := map[string]entry{}
	if strings.HasSuffix(name, ".zip") {
		archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range archive.File {
			opened, err := file.Open()
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(opened)
			if err != nil {
				t.Fatal(err)
			}
			all[file.Name] = entry{file.Name, file.Mode(), content}
		}
		return all
	}
	compressed, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(compressed); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		all[header.Name] = entry{header.Name, header.FileInfo().Mode(), content}
	}
}

// Of each platform Krew finds an archive with the sum that the manifest has, and in it the
// program, the licence and what completes.
func TestManifest(t *testing.T) {
	dist := build(t)
	var m manifest
	if err := yaml.UnmarshalStrict(read(t, dist, manifestName), &m); err != nil {
		t.Fatal(err)
	}
	switch {
	case m.APIVersion != "krew.googlecontainertools.github.com/v1alpha2", m.Kind != "Plugin", m.Spec.Version != "v1.2.3":
		t.Errorf("%s %s, version %s", m.APIVersion, m.Kind, m.Spec.Version)
	case !regexp.MustCompile(`^[\w-]+$`).MatchString(m.Metadata.Name), m.Metadata.Name+".yaml" != manifestName:
		t.Errorf("the name %q is not valid, or not that of %s", m.Metadata.Name, manifestName)
	case m.Spec.ShortDescription == "" || len(m.Spec.ShortDescription) > 50 || strings.ContainsAny(m.Spec.ShortDescription, "\r\n"):
		t.Errorf("short description %q", m.Spec.ShortDescription)
	}
	var platforms []string
	for _, p := range m.Spec.Platforms {
		platform := p.Selector.MatchLabels.OS + "/" + p.Selector.MatchLabels.Arch
		platforms = append(platforms, platform)
		name := path.Base(p.URI)
		if p.URI != base+"/"+name {
			t.Errorf("%s: from %s, want below %s", platform, p.URI, base)
		}
		content := read(t, dist, name)
		if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != p.SHA256 {
			t.Errorf("%s: sum %s, and %s has %x", platform, p.SHA256, name, sum)
		}
		files := unpack(t, name, content)
		if got := files[p.Bin]; string(got.content) != "program of "+platform || got.mode.Perm() != 0o755 {
			t.Errorf("%s: %s is %q with mode %s", platform, p.Bin, got.content, got.mode)
		}
		if strings.HasSuffix(p.Bin, ".exe") != (p.Selector.MatchLabels.OS == "windows") {
			t.Errorf("%s: the program is %s", platform, p.Bin)
		}
		for file, mode := range map[string]fs.FileMode{"LICENSE": 0o644, "kubectl_complete-tidelay": 0o755} {
			if got := files[file]; len(got.content) == 0 || got.mode.Perm() != mode {
				t.Errorf("%s: %s has %d bytes and mode %s", platform, file, len(got.content), got.mode)
			}
		}
	}
	if !slices.Equal(platforms, allPlatforms) {
		t.Errorf("platforms %q", platforms)
	}
}

// The sums are those of all files, and the same comes of the same.
func TestSums(t *testing.T) {
	dist, again := build(t), build(t)
	files, err := os.ReadDir(dist)
	if err != nil {
		t.Fatal(err)
	}
	listed := strings.Split(strings.TrimSpace(string(read(t, dist, "checksums.txt"))), "\n")
	for _, file := range files {
		content := read(t, dist, file.Name())
		if !bytes.Equal(content, read(t, again, file.Name())) {
			t.Errorf("%s is another one the second time", file.Name())
		}
		if line := fmt.Sprintf("%x  %s", sha256.Sum256(content), file.Name()); file.Name() != "checksums.txt" && !slices.Contains(listed, line) {
			t.Errorf("the sums lack %s:\n%s", line, strings.Join(listed, "\n"))
		}
	}
	if len(files) != len(allPlatforms)+2 || len(listed) != len(files)-1 {
		t.Errorf("%d files, %d sums", len(files), len(listed))
	}
}

func TestRefuses(t *testing.T) {
	for name, args := range map[string][]string{
		"no version": {"-url", base, "-dist", "d", "linux/amd64=p"}, "a commit": {"-version", "4cea364", "-url", base, "-dist", "d", "linux/amd64=p"},
		"no v": {"-version", "1.2.3", "-url", base, "-dist", "d", "linux/amd64=p"}, "http": {"-version", "v1.2.3", "-url", "http://example.com", "-dist", "d", "linux/amd64=p"},
		"no folder": {"-version", "v1.2.3", "-url", base, "linux/amd64=p"}, "no program": {"-version", "v1.2.3", "-url", base, "-dist", "d"},
		"no architecture": {"-version", "v1.2.3", "-url", base, "-dist", "d", "linux=p"}, "no file": {"-version", "v1.2.3", "-url", base, "-dist", "d", "linux/amd64"},
		"missing": {"-version", "v1.2.3", "-url", base, "-dist", t.TempDir(), "linux/amd64=/nowhere"},
	} {
		if err := run(args); err == nil {
			t.Errorf("%s: done", name)
		}
	}
}
