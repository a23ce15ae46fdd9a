// Command krew packs the plugin for platforms, with a manifest for Krew, kubectl's manager of
// plugins, and the sums of all that it writes:
//
//	krew -version VERSION -url URL -dist FOLDER [-with FILE]... OS/ARCHITECTURE=PROGRAM...
//
// The same programs and files make the same bytes.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "krew:", err)
		os.Exit(1)
	}
}

// release is what is asked for.
type release struct {
	version, url, dist string
	with               []string // files that go into each archive
	programs           []program
}

// program is the plugin, built for a platform.
type program struct{ os, arch, path string }

// name is that of the program in its archive.
func (p program) name() string {
	if p.os == "windows" {
		return "kubectl-tidelay.exe"
	}
	return "kubectl-tidelay"
}

// archive is the name of the program's archive.
func (p program) archive(version string) string {
	ending := ".tar.gz"
	if p.os == "windows" {
		ending = ".zip"
	}
	return fmt.Sprintf("kubectl-tidelay_%s_%s_%s%s", version, p.os, p.arch, ending)
}

func run(args []string) error {
	r, err := parse(args)
	if err != nil {
		return err
	}
	var platforms []platform
	var sums strings.Builder
	for _, p := range r.programs {
		name := p.archive(r.version)
		content, err := r.pack(p)
		if err != nil {
			return fmt.Errorf("pack %s: %w", p.path, err)
		}
		if err := r.write(name, content); err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		hexSum := hex.EncodeToString(sum[:])
		fmt.Fprintf(&sums, "%s  %s\n", hexSum, name)
		platforms = append(platforms, newPlatform(p, strings.TrimRight(r.url, "/")+"/"+name, hexSum))
	}
	manifest, err := encode(r.version, platforms)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(manifest)
	fmt.Fprintf(&sums, "%s  %s\n", hex.EncodeToString(sum[:]), manifestName)
	if err := r.write(manifestName, manifest); err != nil {
		return err
	}
	return r.write("checksums.txt", []byte(sums.String()))
}

// parse reads the command line.
func parse(args []string) (*release, error) {
	r := &release{}
	flags := flag.NewFlagSet("krew", flag.ContinueOnError)
	flags.StringVar(&r.version, "version", "", "the plugin's version, such as v1.2.3")
	flags.StringVar(&r.url, "url", "", "where the archives are fetched from, without their names")
	flags.StringVar(&r.dist, "dist", "", "the folder to write to")
	flags.Func("with", "a file that goes into each archive", func(file string) error {
		r.with = append(r.with, file)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return nil, fmt.Errorf("parse flags: %w", err)
	}
	switch {
	case !isVersion(r.version):
		return nil, fmt.Errorf("-version %q: Krew wants a semantic version with a v, such as v1.2.3", r.version)
	case !strings.HasPrefix(r.url, "https://"):
		return nil, fmt.Errorf("-url %q: Krew wants https", r.url)
	case r.dist == "" || flags.NArg() == 0:
		return nil, errors.New("want -dist FOLDER, and OS/ARCHITECTURE=PROGRAM at least once")
	}
	for _, text := range flags.Args() {
		platform, file, hasFile := strings.Cut(text, "=")
		system, arch, hasArch := strings.Cut(platform, "/")
		if !hasFile || !hasArch || path.Clean(platform) != platform || strings.Contains(arch, "/") {
			return nil, fmt.Errorf("%q: want OS/ARCHITECTURE=PROGRAM", text)
		}
		r.programs = append(r.programs, program{system, arch, file})
	}
	return r, nil
}

func (r *release) write(name string, content []byte) error {
	if err := os.WriteFile(filepath.Join(r.dist, name), content, 0o644); err != nil { //nolint:gosec // to be published
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
