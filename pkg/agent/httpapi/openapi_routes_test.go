package httpapi_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/enginetest"
)

func TestOpenAPIIsValid(t *testing.T) {
	content, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if served := text(t, newTestServer(t, &enginetest.Engine{}).get("/openapi.json")); served != string(content) {
		t.Errorf("the agent serves another document: %.100s", served)
	}
	loaded, err := openapi3.NewLoader().LoadFromData(content)
	if err != nil {
		t.Fatal(err)
	}
	if err := loaded.Validate(t.Context(), openapi3.EnableMultiError()); err != nil || !loaded.IsOpenAPI31OrLater() {
		t.Errorf("version %s: %v", loaded.OpenAPI, err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, bytes.TrimSpace(content), "", "  "); err != nil || indented.String()+"\n" != string(content) {
		t.Errorf("want an indentation of two spaces and a line end at the end (%v)", err)
	}
	d := readOpenAPI(t)
	for name := range d.root["components"].(object)["schemas"].(object) {
		if _, err := d.compiler.Compile("openapi.json#/components/schemas/" + name); err != nil {
			t.Errorf("schema %s: %v", name, err)
		}
	}
	used := make(map[string]bool)
	walk(d.root, "", func(_ string, found object) {
		if reference, ok := found["$ref"].(string); ok {
			used[reference] = true
		}
	})
	for kind, components := range d.root["components"].(object) {
		for name := range components.(object) {
			if kind != "securitySchemes" && !used["#/components/"+kind+"/"+name] {
				t.Errorf("nothing refers to %s of %s", name, kind)
			}
		}
	}
}

func TestOpenAPIHasEveryRoute(t *testing.T) {
	s := newTestServer(t, &enginetest.Engine{})
	parameter := regexp.MustCompile(`:(\w+)`)
	var want, gets, heads []string
	for _, route := range s.handler.(*gin.Engine).Routes() {
		path := parameter.ReplaceAllString(route.Path, "{$1}")
		switch route.Method {
		case http.MethodHead: // the document says once that each GET has it
			heads = append(heads, path)
			continue
		case http.MethodGet:
			gets = append(gets, path)
		}
		want = append(want, route.Method+" "+path)
	}
	slices.Sort(want)
	if diff := cmp.Diff(gets, heads); diff != "" {
		t.Errorf("routes with GET and with HEAD differ:\n%s", diff)
	}
	d := readOpenAPI(t)
	operations := d.operations()
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(operations))); diff != "" {
		t.Errorf("routes (-agent +document):\n%s", diff)
	}
	names := make(map[string]string)
	for name, pointer := range operations {
		operation, _ := d.follow(pointer)
		id, _ := operation["operationId"].(string)
		if other, twice := names[id]; twice || id == "" {
			t.Errorf("%s: operationId %q, which %s has too", name, id, other)
		}
		names[id] = name
		if operation["summary"] == nil || operation["description"] == nil {
			t.Errorf("%s: want a summary and a description", name)
		}
	}
}
