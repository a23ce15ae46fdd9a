package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// writeLayout writes an image for several platforms as an OCI image layout, in
// one tar file:
//
//	FILE IMAGE VERSION USER OS/ARCHITECTURE=PROGRAM...
//
// The file is also an archive for the versions of `docker load` that don't know
// OCI: to them it is the image for this machine alone.
func writeLayout(args []string) error {
	if len(args) < 5 {
		return errors.New("usage: oci layout FILE IMAGE VERSION USER OS/ARCHITECTURE=PROGRAM [OS/ARCHITECTURE=PROGRAM]")
	}
	file, version, user := args[0], args[2], args[3]
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
		i, err := platformImage(*p, program, version, user)
		if err != nil {
			return fmt.Errorf("make image for %s: %w", platform, err)
		}
		if local == nil || p.Architecture == runtime.GOARCH {
			local = i
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: i, Descriptor: v1.Descriptor{Platform: p}})
	}
	dir, err := os.MkdirTemp("", "oci-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := fill(dir, reference, index, local); err != nil {
		return err
	}
	return pack(dir, file)
}

// platformImage returns an image for p that runs program.
func platformImage(p v1.Platform, program, version, user string) (v1.Image, error) {
	if err := check(p, program); err != nil {
		return nil, err
	}
	entrypoint := "/" + filepath.Base(program)
	content, err := programLayer(program, entrypoint, nil)
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
		Entrypoint: []string{entrypoint},
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

// fill writes the layout into dir.
func fill(dir string, reference name.Tag, index v1.ImageIndex, local v1.Image) error {
	path, err := layout.Write(dir, empty.Index)
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
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), content, 0o644); err != nil {
		return fmt.Errorf("write manifest.json: %w", err)
	}
	return nil
}

// pack writes the files in dir to the tar file. The same files give the same
// bytes: they are in order of name, without times and owners.
func pack(dir, file string) error {
	root := os.DirFS(dir)
	return create(file, func(out io.Writer) error {
		w := tar.NewWriter(out)
		err := fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := fs.ReadFile(root, path)
			if err != nil {
				return err
			}
			if err := w.WriteHeader(&tar.Header{Name: path, Mode: 0o644, Size: int64(len(content))}); err != nil {
				return err
			}
			_, err = w.Write(content)
			return err
		})
		return errors.Join(err, w.Close())
	})
}

// create writes a file. Where that fails it leaves none.
func create(file string, write func(io.Writer) error) error {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("create archive: %w", err)
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		_ = os.Remove(file)
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}
