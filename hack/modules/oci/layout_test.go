package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// dist returns an image for two platforms, made by hack/images.sh and unpacked.
// DOCKER_HOST is where no engine answers, to prove that none is needed.
func dist(t *testing.T) layout.Path {
	t.Helper()
	dir := t.TempDir()
	pack := exec.Command("../../images.sh", "pinger")
	pack.Env = append(os.Environ(), "PLATFORMS=linux/amd64,linux/arm64", "DIST="+dir, "TIDELAY_TAG=v1", "TIDELAY_VERSION=v1.2.3", "DOCKER_HOST=tcp://127.0.0.1:1")
	if said, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("images.sh: %v\n%s", err, said)
	}
	unpacked := filepath.Join(dir, "unpacked")
	if err := os.Mkdir(unpacked, 0o700); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command("tar", "--extract", "--file", filepath.Join(dir, "pinger.tar"), "--directory", unpacked).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, said)
	}
	path, err := layout.FromPath(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestImageForTwoPlatforms(t *testing.T) {
	path := dist(t)
	top := must(must(path.ImageIndex())(t).IndexManifest())(t)
	if len(top.Manifests) != 1 {
		t.Fatalf("the layout has %d images, want one for all platforms", len(top.Manifests))
	}
	entry := top.Manifests[0]
	if got := entry.Annotations["io.containerd.image.name"]; got != "docker.io/tidelay/pinger:v1" {
		t.Errorf("containerd will call it %q", got)
	}
	if got := entry.Annotations["org.opencontainers.image.ref.name"]; got != "v1" {
		t.Errorf("its tag is %q", got)
	}
	index := must(must(path.ImageIndex())(t).ImageIndex(entry.Digest))(t)
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	want := map[string]elf.Machine{"linux/amd64": elf.EM_X86_64, "linux/arm64": elf.EM_AARCH64}
	for _, m := range must(index.IndexManifest())(t).Manifests {
		machine, ok := want[m.Platform.String()]
		if !ok {
			t.Errorf("an image for %s, which was not asked for or is there twice", m.Platform)
			continue
		}
		delete(want, m.Platform.String())
		testImage(t, must(index.Image(m.Digest))(t), m.Platform, machine)
	}
	for platform := range want {
		t.Errorf("no image for %s", platform)
	}

	var saved tarball.Manifest
	content := must(os.ReadFile(filepath.Join(string(path), "manifest.json")))(t)
	if err := json.Unmarshal(content, &saved); err != nil {
		t.Fatal(err)
	}
	if len(saved) != 1 || len(saved[0].RepoTags) != 1 || saved[0].RepoTags[0] != "tidelay/pinger:v1" {
		t.Fatalf("manifest.json: %s", content)
	}
	for _, file := range append(saved[0].Layers, saved[0].Config) {
		if _, err := os.Stat(filepath.Join(string(path), file)); err != nil {
			t.Errorf("manifest.json: %v", err)
		}
	}
}

func testImage(t *testing.T, image v1.Image, platform *v1.Platform, machine elf.Machine) {
	t.Helper()
	config := must(image.ConfigFile())(t)
	if config.OS != platform.OS || config.Architecture != platform.Architecture {
		t.Errorf("%s: the configuration is for %s/%s", platform, config.OS, config.Architecture)
	}
	if got := strings.Join(config.Config.Entrypoint, " "); got != "/pinger" {
		t.Errorf("%s: entrypoint %q", platform, got)
	}
	if got := config.Config.Labels["org.opencontainers.image.version"]; got != "v1.2.3" {
		t.Errorf("%s: version %q", platform, got)
	}
	layers := must(image.Layers())(t)
	if len(layers) != 1 {
		t.Fatalf("%s: %d layers", platform, len(layers))
	}
	files := tar.NewReader(must(layers[0].Uncompressed())(t))
	header := must(files.Next())(t)
	if header.Name != "pinger" || header.Mode != 0o755 {
		t.Errorf("%s: file %s of mode %o", platform, header.Name, header.Mode)
	}
	program := must(elf.NewFile(bytes.NewReader(must(io.ReadAll(files))(t))))(t)
	if program.Machine != machine {
		t.Errorf("%s: a program for %s", platform, program.Machine)
	}
	if _, err := files.Next(); err != io.EOF {
		t.Errorf("%s: more than the program: %v", platform, err)
	}
}

// This test's own program is for this machine, and for no other.
func TestProgramOfAnotherMachineIsRefused(t *testing.T) {
	self := must(os.Executable())(t)
	for platform, says := range map[string]string{
		"linux/s390x":   "want linux/amd64 or linux/arm64",
		"windows/amd64": "want linux/amd64 or linux/arm64",
		"linux":         "want linux/amd64 or linux/arm64",
		"nonsense":      "",
	} {
		refused(t, says, platform+"="+self)
	}
	for architecture, machine := range machines() {
		if f := must(elf.Open(self))(t); f.Machine != machine {
			refused(t, "want "+machine.String(), "linux/"+architecture+"="+self)
		}
	}
	refused(t, "want OS/ARCHITECTURE=PROGRAM", "linux/amd64")
	refused(t, "read program", "linux/amd64=/nowhere")
	refused(t, "bad magic number", "linux/amd64=main.go")
}

func refused(t *testing.T, says, arg string) {
	t.Helper()
	wantError(t, says, "layout", filepath.Join(t.TempDir(), "image.tar"), "tidelay/agent:dev", "v1", "0:0", arg)
}
