package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func TestArchiveOfImagesThatShareALayer(t *testing.T) {
	program, dir := program(t), t.TempDir()
	tools := filepath.Join(dir, "tools.tar")
	if err := os.WriteFile(tools, tarOf(t, "usr/sbin/nft", "nft"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "images.tar")
	if err := run([]string{
		"archive",
		"-program", "main=/usr/local/bin/main=" + program,
		"-link", "main=/usr/local/bin/proxy", "-link", "main=/usr/local/bin/scheduler",
		"-program", "shell=/bin/sh=" + program,
		"-tar", "tools=" + tools,
		"-image", "registry.example/proxy:v1=/usr/local/bin/proxy=tools,main",
		"-image", "registry.example/scheduler:v1=/usr/local/bin/scheduler=main",
		"-image", "tidelay/shell:v2=/bin/sh=shell",
		"-image", "tidelay/bash:v2=/bin/sh=shell",
		file,
	}); err != nil {
		t.Fatal(err)
	}

	mainFiles := map[string]string{
		"usr/local/bin/main":      sum(must(os.ReadFile(program))(t)),
		"usr/local/bin/proxy":     "-> /usr/local/bin/main",
		"usr/local/bin/scheduler": "-> /usr/local/bin/main",
	}
	for tag, want := range map[string]struct {
		entrypoint string
		layers     []map[string]string
	}{
		"registry.example/proxy:v1":     {"/usr/local/bin/proxy", []map[string]string{{"usr/sbin/nft": sum([]byte("nft"))}, mainFiles}},
		"registry.example/scheduler:v1": {"/usr/local/bin/scheduler", []map[string]string{mainFiles}},
		"tidelay/shell:v2":              {"/bin/sh", []map[string]string{{"bin/sh": mainFiles["usr/local/bin/main"]}}},
		"tidelay/bash:v2":               {"/bin/sh", []map[string]string{{"bin/sh": mainFiles["usr/local/bin/main"]}}},
	} {
		reference := must(name.NewTag(tag))(t)
		image := must(tarball.ImageFromPath(file, &reference))(t)
		if err := validate.Image(image); err != nil {
			t.Errorf("%s: %v", tag, err)
		}
		config := must(image.ConfigFile())(t)
		if config.OS != "linux" || config.Architecture != runtime.GOARCH {
			t.Errorf("%s: for %s/%s", tag, config.OS, config.Architecture)
		}
		if got := strings.Join(config.Config.Entrypoint, " "); got != want.entrypoint {
			t.Errorf("%s: entrypoint %q, want %q", tag, got, want.entrypoint)
		}
		if got := strings.Join(config.Config.Env, " "); !strings.Contains(got, "PATH=") || !strings.Contains(got, "/usr/local/bin") {
			t.Errorf("%s: environment %q", tag, got)
		}
		layers := must(image.Layers())(t)
		if len(layers) != len(want.layers) {
			t.Errorf("%s: %d layers, want %d", tag, len(layers), len(want.layers))
			continue
		}
		for i, layer := range layers {
			sameFiles(t, tag, filesOf(t, layer), want.layers[i])
		}
	}
	savedOnce(t, file, 3, 3)
}

// savedOnce checks that the archive has so many images and uncompressed layers,
// and each file once.
func savedOnce(t *testing.T, file string, images, layers int) {
	t.Helper()
	f := must(os.Open(file))(t)
	defer func() { _ = f.Close() }()
	var manifest tarball.Manifest
	var found int
	names := map[string]bool{}
	r := tar.NewReader(f)
	for {
		header, err := r.Next()
		if err == io.EOF {
			break
		}
		content := must(io.ReadAll(must(r, err)(t)))(t)
		if names[header.Name] {
			t.Errorf("%s is there twice", header.Name)
		}
		names[header.Name] = true
		switch {
		case header.Name == "manifest.json":
			if err := json.Unmarshal(content, &manifest); err != nil {
				t.Fatal(err)
			}
		case !bytes.HasPrefix(content, []byte("{")):
			found++
			if _, err := tar.NewReader(bytes.NewReader(content)).Next(); err != nil {
				t.Errorf("layer %s is no tar file: %v", header.Name, err)
			}
		}
	}
	if len(manifest) != images {
		t.Errorf("%d images in manifest.json, want %d", len(manifest), images)
	}
	if found != layers {
		t.Errorf("%d layers, want %d", found, layers)
	}
}

// filesOf returns a layer's files by name: the digest of what is in one, or
// where it links to.
func filesOf(t *testing.T, layer v1.Layer) map[string]string {
	t.Helper()
	files := map[string]string{}
	r := tar.NewReader(must(layer.Uncompressed())(t))
	for {
		header, err := r.Next()
		if err == io.EOF {
			return files
		}
		content := must(io.ReadAll(must(r, err)(t)))(t)
		if header.Typeflag == tar.TypeSymlink {
			files[header.Name] = "-> " + header.Linkname
			continue
		}
		if header.Mode != 0o755 {
			t.Errorf("%s has mode %o", header.Name, header.Mode)
		}
		files[header.Name] = sum(content)
	}
}

func sameFiles(t *testing.T, tag string, got, want map[string]string) {
	t.Helper()
	for name, content := range want {
		if got[name] != content {
			t.Errorf("%s: %s is %q, want %q", tag, name, got[name], content)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d files in the layer, want %d", tag, len(got), len(want))
	}
}

func sum(content []byte) string {
	digest := sha256.Sum256(content)
	return string(digest[:])
}

func tarOf(t *testing.T, name, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	must(io.WriteString(w, content))(t)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestArchivesThatAreRefused(t *testing.T) {
	program, file := program(t), filepath.Join(t.TempDir(), "images.tar")
	layer := []string{"archive", "-program", "a=/a=" + program}
	with := func(args ...string) []string { return append(slices.Clip(layer), args...) }
	for _, test := range []struct {
		args []string
		says string
	}{
		{with(file), "want at least one -image"},
		{with("-image", "x:v1=/a=a"), "one FILE"},
		{with("-image", "x:v1=/a=b", file), `image x:v1: no layer "b"`},
		{with("-image", "x:v1=/a", file), "want IMAGE=ENTRYPOINT=LAYERS"},
		{with("-image", "x:v1=a=a", file), `"a": want an absolute path`},
		{with("-image", "X:v1=/a=a", file), "repository can only contain"},
		{with("-image", "x:v1=/a=a", "-image", "x:v1=/a=a", file), "image x:v1 is there twice"},
		{with("-program", "a=/b="+program, file), "layer a is there twice"},
		{with("-tar", "a="+program, file), "layer a is there twice"},
		{with("-tar", "a", file), "want LAYER=FILE"},
		{with("-tar", "b=/nowhere", "-image", "x:v1=/a=b", file), "make layer b: read tar"},
		{with("-program", "b", file), "want LAYER=PATH=PROGRAM"},
		{with("-program", "b=b="+program, file), `"b": want an absolute path`},
		{with("-program", "b=/b=/nowhere", "-image", "x:v1=/b=b", file), "make layer b: read program"},
		{with("-program", "b=/b="+dynamic(t, program), "-image", "x:v1=/b=b", file), "is not static"},
		{with("-link", "b=/b", "-image", "x:v1=/a=a", file), "-link b: no -program layer"},
		{with("-link", "a", file), "want LAYER=PATH"},
		{with("-link", "a=b", file), `"b": want an absolute path`},
	} {
		wantError(t, test.says, test.args...)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("an archive is there: %v", err)
	}
}

// The same program gives the same layer, so that an image is not loaded again.
func TestLayersAreReproducible(t *testing.T) {
	program := program(t)
	once := must(programLayer(program, "/a", []string{"/b"}))(t)
	if err := os.Chtimes(program, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(once, must(programLayer(program, "/a", []string{"/b"}))(t)) {
		t.Error("two layers of the same program differ")
	}
}
