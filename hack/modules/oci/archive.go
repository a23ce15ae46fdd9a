package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// contents is what the flags of `oci archive` ask for.
type contents struct {
	layers map[string]layerSpec
	images []imageSpec
}

// layerSpec is a layer: either a program at a path, with links to it, or an
// uncompressed tar file.
type layerSpec struct {
	program, at string
	links       []string
	tar         string
}

// imageSpec is an image: a tag, an absolute path to run, and names of layers.
type imageSpec struct {
	tag        name.Tag
	entrypoint string
	layers     []string
}

// writeArchive writes images for this machine as `docker save` does, into one
// file that `docker load` and `ctr images import` read. Layers are not
// compressed. A layer that several images share is in the file once, and so is
// an image with several tags.
func writeArchive(args []string) error {
	c, file, err := parseArchive(args)
	if err != nil {
		return err
	}
	layers := map[string]v1.Layer{}
	for key, spec := range c.layers {
		content, err := spec.read()
		if err != nil {
			return fmt.Errorf("make layer %s: %w", key, err)
		}
		layers[key] = static.NewLayer(content, types.DockerUncompressedLayer)
	}
	images := map[name.Tag]v1.Image{}
	made := map[string]v1.Image{}
	for _, spec := range c.images {
		key := spec.entrypoint + "=" + strings.Join(spec.layers, ",")
		if made[key] == nil {
			image, err := spec.image(layers)
			if err != nil {
				return fmt.Errorf("make image %s: %w", spec.tag, err)
			}
			made[key] = image
		}
		images[spec.tag] = made[key]
	}
	return create(file, func(w io.Writer) error { return tarball.MultiWrite(images, w) })
}

// parseArchive reads the arguments of `oci archive`, and refuses images and
// links that name a layer which is not there.
func parseArchive(args []string) (contents, string, error) {
	c := contents{layers: map[string]layerSpec{}}
	links := map[string][]string{}
	flags := flag.NewFlagSet("oci archive", flag.ContinueOnError)
	flags.Func("program", "`LAYER=PATH=PROGRAM`: a layer with the static file PROGRAM at PATH", func(s string) error {
		key, at, program, err := cut(s, "LAYER=PATH=PROGRAM")
		if err != nil {
			return err
		}
		return c.add(key, layerSpec{program: program, at: at}, at)
	})
	flags.Func("link", "`LAYER=PATH`: a symbolic link at PATH to that layer's program", func(s string) error {
		key, at, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("want LAYER=PATH")
		}
		links[key] = append(links[key], at)
		return absolute(at)
	})
	flags.Func("tar", "`LAYER=FILE`: a layer with the contents of the uncompressed tar FILE", func(s string) error {
		key, file, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("want LAYER=FILE")
		}
		return c.add(key, layerSpec{tar: file})
	})
	flags.Func("image", "`IMAGE=ENTRYPOINT=LAYERS`: an image of these comma-separated layers, lowest first", c.addImage)
	if err := flags.Parse(args); err != nil {
		return contents{}, "", err
	}
	if flags.NArg() != 1 || len(c.images) == 0 {
		return contents{}, "", errors.New("want at least one -image, and one FILE after the flags")
	}
	for key, at := range links {
		spec, ok := c.layers[key]
		if !ok || spec.program == "" {
			return contents{}, "", fmt.Errorf("-link %s: no -program layer of that name", key)
		}
		spec.links = at
		c.layers[key] = spec
	}
	for _, i := range c.images {
		for _, key := range i.layers {
			if _, ok := c.layers[key]; !ok {
				return contents{}, "", fmt.Errorf("image %s: no layer %q", i.tag, key)
			}
		}
	}
	return c, flags.Arg(0), nil
}

func (c *contents) add(key string, spec layerSpec, paths ...string) error {
	if _, ok := c.layers[key]; ok {
		return fmt.Errorf("layer %s is there twice", key)
	}
	c.layers[key] = spec
	return absolute(paths...)
}

func (c *contents) addImage(s string) error {
	image, entrypoint, layers, err := cut(s, "IMAGE=ENTRYPOINT=LAYERS")
	if err != nil {
		return err
	}
	tag, err := name.NewTag(image)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(c.images, func(other imageSpec) bool { return other.tag == tag }) {
		return fmt.Errorf("image %s is there twice", image)
	}
	c.images = append(c.images, imageSpec{tag: tag, entrypoint: entrypoint, layers: strings.Split(layers, ",")})
	return absolute(entrypoint)
}

// cut splits s at its first two equals signs.
func cut(s, want string) (first, second, rest string, err error) {
	first, s, ok := strings.Cut(s, "=")
	second, rest, ok2 := strings.Cut(s, "=")
	if !ok || !ok2 || first == "" || rest == "" {
		return "", "", "", errors.New("want " + want)
	}
	return first, second, rest, nil
}

func absolute(paths ...string) error {
	for _, p := range paths {
		if !path.IsAbs(p) {
			return fmt.Errorf("%q: want an absolute path", p)
		}
	}
	return nil
}

// read returns the layer as an uncompressed tar file.
func (s layerSpec) read() ([]byte, error) {
	if s.tar != "" {
		content, err := os.ReadFile(s.tar)
		if err != nil {
			return nil, fmt.Errorf("read tar: %w", err)
		}
		return content, nil
	}
	if err := check(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}, s.program); err != nil {
		return nil, err
	}
	return programLayer(s.program, s.at, s.links)
}

func (s imageSpec) image(all map[string]v1.Layer) (v1.Image, error) {
	base, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: "linux", Architecture: runtime.GOARCH, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: []string{s.entrypoint},
			Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("set configuration: %w", err)
	}
	layers := make([]v1.Layer, len(s.layers))
	for i, key := range s.layers {
		layers[i] = all[key]
	}
	return mutate.AppendLayers(base, layers...)
}
