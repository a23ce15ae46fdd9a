package docs

import (
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every link leads somewhere: to a file of the repository and, where it names a
// heading, to one that is there.
func TestLinks(t *testing.T) {
	anchors := map[string][]string{}
	for _, p := range allPages(t) {
		anchors[p.name] = p.anchors
	}
	for _, p := range allPages(t) {
		for _, link := range p.links {
			target, err := url.Parse(link)
			switch {
			case err != nil:
				t.Errorf("%s: link %q: %v", p.name, link, err)
				continue
			case target.Scheme == "https":
				continue // elsewhere: not ours to try
			case target.Scheme != "" || target.Host != "" || path.IsAbs(target.Path):
				t.Errorf("%s: link %q: want https, or a relative path", p.name, link)
				continue
			}
			file := p.name
			if target.Path != "" {
				file = path.Join(path.Dir(p.name), target.Path)
			}
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s: link %q: there is no %s", p.name, link, file)
			} else if target.Fragment != "" && !slices.Contains(anchors[file], target.Fragment) {
				t.Errorf("%s: link %q: %s has no such heading; it has %s", p.name, link, file, strings.Join(anchors[file], ", "))
			}
		}
	}
}

// Every document is found by somebody who starts at the README.
func TestNoPageIsLost(t *testing.T) {
	seen := map[string]bool{}
	next := []string{"README.md"}
	for len(next) > 0 {
		p := pageNamed(t, next[0])
		next = next[1:]
		if seen[p.name] {
			continue
		}
		seen[p.name] = true
		for _, link := range p.links {
			if target, err := url.Parse(link); err == nil && target.Scheme == "" && path.Ext(target.Path) == ".md" {
				next = append(next, path.Join(path.Dir(p.name), target.Path))
			}
		}
	}
	for _, p := range allPages(t) {
		if !seen[p.name] {
			t.Errorf("no link leads from README.md to %s", p.name)
		}
	}
}

// A page of some length that begins with a list of its sections lists all.
func TestContents(t *testing.T) {
	for _, p := range allPages(t) {
		if len(p.links) == 0 || !strings.HasPrefix(p.links[0], "#") {
			continue // no contents
		}
		content, err := os.ReadFile(filepath.Join(root, p.name))
		if err != nil {
			t.Fatal(err)
		}
		fenced := false
		for line := range strings.Lines(string(content)) {
			if strings.HasPrefix(line, "```") {
				fenced = !fenced
			}
			heading, ok := strings.CutPrefix(strings.TrimSpace(line), "## ")
			if !ok || fenced {
				continue
			}
			if anchor := (&page{}).anchor(heading); !slices.Contains(p.links, "#"+anchor) {
				t.Errorf("%s: the contents leave out %q", p.name, heading)
			}
		}
	}
}
