package docs

import (
	"encoding/json"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// openAPI is what the documents are compared with of the agent's openapi.json.
type openAPI struct {
	Paths map[string]map[string]struct {
		Parameters []struct {
			Ref string `json:"$ref"`
		}
		Responses map[string]any
	}
	Components struct {
		Parameters map[string]struct{ Name, In string }
	}
}

// readOpenAPI returns the agent's own document.
func readOpenAPI(t *testing.T) openAPI {
	t.Helper()
	var found []string
	err := filepath.WalkDir(filepath.Join(root, "pkg/agent"), func(name string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == "openapi.json" {
			found = append(found, name)
		}
		return err
	})
	if err != nil || len(found) != 1 {
		t.Fatalf("openapi.json: found %q, %v; want it once", found, err)
	}
	content, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	var document openAPI
	if err := json.Unmarshal(content, &document); err != nil {
		t.Fatal(err)
	}
	return document
}

// works reports whether an operation has an answer that is no error. The one
// that has none is there to refuse an empty delay.
func works(responses map[string]any) bool {
	_, ok := responses["200"]
	return ok
}

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

// The README's table has the agent's routes, all of them and no others.
func TestRoutes(t *testing.T) {
	want := map[string]bool{}
	for path, operations := range readOpenAPI(t).Paths {
		for method, operation := range operations {
			if works(operation.Responses) {
				want[strings.ToUpper(method)+" "+pathParameter.ReplaceAllString(path, ":$1")] = true
			}
		}
	}
	var told []string
	for _, row := range pageNamed(t, "README.md").tableUnder(t, "http-api").rows {
		told = append(told, table{rows: [][]string{row}}.codes()...)
	}
	slices.Sort(told)
	if diff := cmp.Diff(names(want), told); diff != "" {
		t.Errorf("routes (-openapi.json +README):\n%s", diff)
	}
}

// The agent's statuses are those of openapi.json, and 405, which the router
// gives where a route does not take the method.
func TestStatuses(t *testing.T) {
	want := map[string]bool{"405": true}
	for _, operations := range readOpenAPI(t).Paths {
		for _, operation := range operations {
			for status := range operation.Responses {
				want[status] = true
			}
		}
	}
	var told []string
	for _, row := range pageNamed(t, "docs/agent.md").tableUnder(t, "statuses").rows {
		told = append(told, row[0])
	}
	if diff := cmp.Diff(names(want), told); diff != "" {
		t.Errorf("statuses (-openapi.json +agent.md):\n%s", diff)
	}
}

// injection.md has every reason of an admission, and those of the condition
// beside them.
func TestReasons(t *testing.T) {
	var told [][]string
	for _, table := range pageNamed(t, "docs/injection.md").tables {
		if table.under == "reasons" {
			told = append(told, table.codes())
		}
	}
	if len(told) != 2 {
		t.Fatalf("injection.md has %d tables of reasons, want 2", len(told))
	}
	for i, folder := range []string{injectionPackage, "pkg/missed"} {
		slices.Sort(told[i])
		if diff := cmp.Diff(reasonsOf(t, folder), told[i]); diff != "" {
			t.Errorf("reasons (-%s +injection.md):\n%s", folder, diff)
		}
	}
}

// injectionPackage declares the reasons of an admission and the annotation that
// marks an injected pod.
const injectionPackage = "pkg/injection"

// reasonsOf returns the values of a package's constants of the type Reason.
func reasonsOf(t *testing.T, folder string) []string {
	t.Helper()
	var found []string
	for _, file := range parseFolder(t, token.NewFileSet(), folder) {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || spec.Type == nil || !strings.HasSuffix(types.ExprString(spec.Type), "Reason") {
				return true
			}
			for _, value := range spec.Values {
				if literal, ok := value.(*ast.BasicLit); ok {
					found = append(found, strings.Trim(literal.Value, `"`))
				}
			}
			return true
		})
	}
	if len(found) == 0 {
		t.Fatalf("%s has no constant of the type Reason", folder)
	}
	slices.Sort(found)
	return found
}

var annotation = regexp.MustCompile(`\btidelay\.io/[a-z]+(-[a-z]+)*`)

// The tables have the annotations that the code reads, and no page names one
// that there is not.
func TestAnnotations(t *testing.T) {
	read := annotationsOf(t, "pkg/tidbcluster")
	known := map[string]bool{}
	for _, folder := range []string{"pkg/tidbcluster", injectionPackage} {
		for _, name := range annotationsOf(t, folder) {
			known[name] = true
		}
	}
	for _, place := range []struct{ page, anchor string }{{"docs/injection.md", "annotations"}, {"README.md", "annotations"}} {
		var told []string
		for _, span := range pageNamed(t, place.page).tableUnder(t, place.anchor).codes() {
			if name := annotation.FindString(span); name != "" && !slices.Contains(told, name) {
				told = append(told, name)
			}
		}
		slices.Sort(told)
		if diff := cmp.Diff(read, told); diff != "" {
			t.Errorf("annotations (-code +%s):\n%s", place.page, diff)
		}
	}
	apiVersion := v1alpha1.GroupVersion().String() // begins as an annotation does
	for _, p := range allPages(t) {
		for _, code := range p.code() {
			for _, name := range annotation.FindAllString(strings.ReplaceAll(code, apiVersion, ""), -1) {
				if !known[name] && !strings.Contains(code, "inject."+name) { // inject.tidelay.io/...: audit annotations
					t.Errorf("%s: %s: no program knows this annotation; there are %s", p.name, name, names(known))
				}
			}
		}
	}
}

// annotationsOf returns the values of a package's exported constants that are
// called ...Annotation and are ours.
func annotationsOf(t *testing.T, folder string) []string {
	t.Helper()
	fset := token.NewFileSet()
	// Constants have their values also where imports are not resolved.
	config := types.Config{Error: func(error) {}}
	checked, _ := config.Check(folder, fset, parseFolder(t, fset, folder), nil)
	var found []string
	for _, name := range checked.Scope().Names() {
		object, ok := checked.Scope().Lookup(name).(*types.Const)
		if !ok || !object.Exported() || !strings.HasSuffix(name, "Annotation") || object.Val().Kind() != constant.String {
			continue
		}
		if value := constant.StringVal(object.Val()); strings.HasPrefix(value, "tidelay.io/") {
			found = append(found, value)
		}
	}
	if len(found) == 0 {
		t.Fatalf("%s has no constant called ...Annotation", folder)
	}
	slices.Sort(found)
	return found
}

// parseFolder parses a package without its tests.
func parseFolder(t *testing.T, fset *token.FileSet, folder string) []*ast.File {
	t.Helper()
	sources, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, source, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}
