package docs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
)

// root is the repository, seen from this package.
const root = ".."

// page is one document.
type page struct {
	// name is its path from the repository's root.
	name string
	// anchors are its headings as links name them.
	anchors []string
	// links are the destinations of its links.
	links []string
	// spans are its code spans.
	spans []string
	// blocks are its fenced code blocks.
	blocks []block
	// tables are its tables, without their header rows. A cell is its Markdown.
	tables []table
}

// block is a fenced code block. Its language is empty for commands and pictures.
type block struct{ language, content string }

// table is a table, and the anchor of the heading above it.
type table struct {
	under string
	rows  [][]string
}

// pages reads all documents once.
var pages = sync.OnceValues(func() ([]page, error) {
	var names []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/cli/*.md", "manifests/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		names = append(names, found...)
	}
	slices.Sort(names)
	var all []page
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return nil, err
		}
		all = append(all, parsePage(filepath.ToSlash(relative), content))
	}
	return all, nil
})

// allPages returns the documents.
func allPages(t *testing.T) []page {
	t.Helper()
	all, err := pages()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no documents found")
	}
	return all
}

// pageNamed returns one document.
func pageNamed(t *testing.T, name string) page {
	t.Helper()
	all := allPages(t)
	i := slices.IndexFunc(all, func(p page) bool { return p.name == name })
	if i < 0 {
		t.Fatalf("there is no document %s", name)
	}
	return all[i]
}

// tableUnder returns the first table below a heading.
func (p page) tableUnder(t *testing.T, anchor string) table {
	t.Helper()
	i := slices.IndexFunc(p.tables, func(t table) bool { return t.under == anchor })
	if i < 0 {
		t.Fatalf("%s has no table under #%s", p.name, anchor)
	}
	return p.tables[i]
}

// codes returns the code spans of the first column of a table, in its order.
func (t table) codes() []string {
	var all []string
	for _, row := range t.rows {
		for i, part := range strings.Split(row[0], "`") {
			if i%2 == 1 {
				all = append(all, part)
			}
		}
	}
	return all
}

func parsePage(name string, content []byte) page {
	p := page{name: name}
	document := goldmark.New(goldmark.WithExtensions(extension.Table)).Parser().Parse(text.NewReader(content))
	// The walker never fails.
	_ = ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			p.add(n, content)
		}
		return ast.WalkContinue, nil
	})
	return p
}

// add adds a node to its page.
func (p *page) add(n ast.Node, content []byte) {
	switch n := n.(type) {
	case *ast.Heading:
		p.anchors = append(p.anchors, p.anchor(plain(n, content)))
	case *ast.Link:
		p.links = append(p.links, string(n.Destination))
	case *ast.CodeSpan:
		p.spans = append(p.spans, plain(n, content))
	case *ast.FencedCodeBlock:
		p.blocks = append(p.blocks, block{string(n.Language(content)), string(n.Lines().Value(content))})
	case *extast.Table:
		t := table{}
		if len(p.anchors) > 0 {
			t.under = p.anchors[len(p.anchors)-1]
		}
		for row := n.FirstChild(); row != nil; row = row.NextSibling() {
			if _, header := row.(*extast.TableHeader); header {
				continue
			}
			var cells []string
			for cell := row.FirstChild(); cell != nil; cell = cell.NextSibling() {
				cells = append(cells, plain(cell, content))
			}
			t.rows = append(t.rows, cells)
		}
		p.tables = append(p.tables, t)
	}
}

// anchor makes of a heading what GitHub makes of it: lower case, letters,
// digits and hyphens, with a number where the page had the same one before.
func (p *page) anchor(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.ReplaceAll(heading, "`", "")) {
		switch {
		case r == ' ' || r == '-':
			b.WriteByte('-')
		case r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z':
			b.WriteRune(r)
		}
	}
	anchor := b.String()
	for n := 1; slices.Contains(p.anchors, anchor); n++ {
		anchor = b.String() + "-" + string(rune('0'+n))
	}
	return anchor
}

// plain is the text of a node, with backticks around code but for a code span
// itself.
func plain(n ast.Node, content []byte) string {
	var b strings.Builder
	for child := n.FirstChild(); child != nil; child = child.NextSibling() {
		switch child := child.(type) {
		case *ast.Text:
			b.Write(child.Segment.Value(content))
			if child.SoftLineBreak() || child.HardLineBreak() {
				b.WriteByte(' ')
			}
		case *ast.String:
			b.Write(child.Value)
		case *ast.CodeSpan:
			b.WriteString("`" + plain(child, content) + "`")
		default:
			b.WriteString(plain(child, content))
		}
	}
	return b.String()
}
