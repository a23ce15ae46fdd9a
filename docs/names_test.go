package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// code returns all that a page shows as code.
func (p page) code() []string {
	all := append([]string{}, p.spans...)
	for _, b := range p.blocks {
		all = append(all, b.content)
	}
	return all
}

var (
	makeTarget = regexp.MustCompile(`\bmake ([a-z][a-z0-9-]*)`)
	rule       = regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`)
)

// Every target of make that is named is in the Makefile.
func TestMakeTargets(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, match := range rule.FindAllStringSubmatch(string(makefile), -1) {
		targets[match[1]] = true
	}
	named := 0
	for _, p := range allPages(t) {
		if strings.HasPrefix(p.name, "docs/cli/") {
			continue // where kubectl's own words have a verb "make"
		}
		for _, code := range p.code() {
			for _, match := range makeTarget.FindAllStringSubmatch(code, -1) {
				named++
				if !targets[match[1]] {
					t.Errorf("%s: make %s: the Makefile has no such target", p.name, match[1])
				}
			}
		}
	}
	if named == 0 {
		t.Error("no page names a target of make: the pattern is wrong")
	}
}

var repositoryPath = regexp.MustCompile(`^(\./)?((cmd|pkg|manifests|e2e|docs|hack|\.ci)(/[\w.*-]+)*|overlays/[\w-]+|Makefile|[A-Z]+\.md|\.golangci\.yml|go\.mod)/?$`)

// Every path of the repository that is named is there.
func TestPaths(t *testing.T) {
	named := 0
	for _, p := range allPages(t) {
		for _, code := range p.code() {
			for _, word := range strings.FieldsFunc(code, func(r rune) bool { return strings.ContainsRune(" \t\n,;:()\"'", r) }) {
				match := repositoryPath.FindStringSubmatch(word)
				if match == nil {
					continue
				}
				named++
				name := match[2]
				if strings.HasPrefix(name, "overlays/") {
					name = "manifests/" + name
				}
				if found, err := filepath.Glob(filepath.Join(root, name)); err != nil || len(found) == 0 {
					t.Errorf("%s: %q: there is no such file or folder", p.name, word)
				}
			}
		}
	}
	if named == 0 {
		t.Error("no page names a path: the pattern is wrong")
	}
}

var testName = regexp.MustCompile(`-(?:test\.)?run[= ](Test\w+)`)

// Every test that a page runs by name is there.
func TestTestNames(t *testing.T) {
	var tests strings.Builder
	for _, folder := range []string{"pkg", "e2e"} {
		appendFiles(t, &tests, folder, "_test.go")
	}
	named := 0
	for _, p := range allPages(t) {
		for _, code := range p.code() {
			for _, match := range testName.FindAllStringSubmatch(code, -1) {
				named++
				if !strings.Contains(tests.String(), "func "+match[1]) {
					t.Errorf("%s: there is no test that begins with %s", p.name, match[1])
				}
			}
		}
	}
	if named == 0 {
		t.Error("no page runs a test by name: the pattern is wrong")
	}
}

var metric = regexp.MustCompile(`\btidelay_[a-z_]+\b`)

// Every metric that is named is one that a program has.
func TestMetrics(t *testing.T) {
	source := goSource(t)
	exists := func(name string) bool {
		if strings.Contains(source, `"`+name+`"`) {
			return true
		}
		for i, r := range name { // or it is put together of a prefix and the rest
			if r == '_' && strings.Contains(source, `"`+name[:i+1]+`"`) && strings.Contains(source, `"`+name[i+1:]+`"`) {
				return true
			}
		}
		return false
	}
	named := map[string]bool{}
	for _, p := range allPages(t) {
		for _, code := range p.code() {
			for _, name := range metric.FindAllString(code, -1) {
				named[name] = true
				if !exists(name) {
					t.Errorf("%s: %s: no program has this metric", p.name, name)
				}
			}
		}
	}
	if len(named) < 10 {
		t.Errorf("the pages name %d metrics: the pattern is wrong", len(named))
	}
}

// goSource is the programs' source, without tests.
func goSource(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, folder := range []string{"cmd", "pkg"} {
		appendFiles(t, &all, folder, ".go")
	}
	return all.String()
}

// appendFiles reads the files below a folder whose names end like that. Tests
// are read only where they are asked for.
func appendFiles(t *testing.T, to *strings.Builder, folder, ending string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, folder), func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ending) || strings.HasSuffix(name, "_test.go") && ending != "_test.go" {
			return err
		}
		content, err := os.ReadFile(name)
		to.Write(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
