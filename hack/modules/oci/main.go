// Command oci writes an image for several platforms, with one static program and nothing else in it, as an OCI image
// layout:
//
//	oci FOLDER IMAGE VERSION USER OS/ARCHITECTURE=PROGRAM...
//
// The layout is also what `docker load` took before it knew OCI: there it is the image for this machine alone.
package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// machines are the architectures an image can be for.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "oci:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 5 {
		return errors.New("usage: oci FOLDER IMAGE VERSION USER OS/ARCHITECTURE=PROGRAM [OS/ARCHITECTURE=PROGRAM]")
	}
	folder, version, user := args[0], args[2], args[3]
	reference, err := name.NewTag(args[1])
	if err != nil {
		return fmt.Errorf("parse image: %w", err)
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	var local v1.Image
	for _, arg := range args[4:] {
		platform, program, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q: want OS/ARCHITECTURE=PROGRAM", arg)
		}
		p, err := v1.ParsePlatform(platform)
		if err != nil {
			return fmt.Errorf("parse platform: %w", err)
		}
		i, err := image(*p, program, version, user)
		if err != nil {
			return fmt.Errorf("make image for %s: %w", platform, err)
		}
		if local == nil || p.Architecture == runtime.GOARCH {
			local = i
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: i, Descriptor: v1.Descriptor{Platform: p}})
	}
	return write(folder, reference, index, local)
}

// image returns an image that runs program.
func image(p v1.Platform, program, version, user string) (v1.Image, error) {
	if err := check(p, program); err != nil {
		return nil, err
	}
	content, err := archive(program)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("make layer: %w", err)
	}
	config := &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture, RootFS: v1.RootFS{Type: "layers"}, Config: v1.Config{
		Entrypoint: []string{"/" + filepath.Base(program)},
		User:       user,
		Labels:     map[string]string{"org.opencontainers.image.version": version},
	}}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	configured, err := mutate.ConfigFile(base, config)
	if err != nil {
		return nil, fmt.Errorf("set configuration: %w", err)
	}
	return mutate.AppendLayers(configured, layer)
}

// check refuses a program that an empty image for p can't run.
func check(p v1.Platform, program string) error {
	want, ok := machines[p.Architecture]
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

// archive returns a tar file with the program alone, the same whenever it is made.
func archive(program string) ([]byte, error) {
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, fmt.Errorf("read program: %w", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: filepath.Base(program), Mode: 0o755, Size: int64(len(content))}); err != nil {
		return nil, fmt.Errorf("write tar: %w", err)
	}
	if _, err := w.Write(content); err != nil {
		return nil, fmt.Errorf("write tar: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("write tar: %w", err)
	}
	return b.Bytes(), nil
}

// write puts the layout into folder.
func write(folder string, reference name.Tag, index v1.ImageIndex, local v1.Image) error {
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		return fmt.Errorf("write layout: %w", err)
	}
	// Docker Hub's name as containerd writes it.
	full := strings.Replace(reference.Name(), name.DefaultRegistry, "docker.io", 1)
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"io.containerd.image.name":          full,
		"org.opencontainers.image.ref.name": reference.TagStr(),
	})); err != nil {
		return fmt.Errorf("write layout: %w", err)
	}
	manifest, err := local.Manifest()
	if err != nil {
		return fmt.Errorf("read manifest: %w", err)
	}
	blob := func(d v1.Descriptor) string { return "blobs/sha256/" + d.Digest.Hex }
	saved := tarball.Descriptor{Config: blob(manifest.Config), RepoTags: []string{reference.String()}}
	for _, layer := range manifest.Layers {
		saved.Layers = append(saved.Layers, blob(layer))
	}
	content, err := json.Marshal(tarball.Manifest{saved})
	if err != nil {
		return fmt.Errorf("write manifest.json: %w", err)
	}
	if err := os.WriteFile(filepath.Join(folder, "manifest.json"), content, 0o644); err != nil {
		return fmt.Errorf("write manifest.json: %w", err)
	}
	return nil
}
