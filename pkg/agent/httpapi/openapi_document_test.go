package httpapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
)

// object is a JSON object.
type object = map[string]any

// openAPIDocument is the document that the agent serves, decoded.
type openAPIDocument struct {
	t        *testing.T
	root     object
	compiler *jsonschema.Compiler
}

func readOpenAPI(t *testing.T) openAPIDocument {
	t.Helper()
	root, err := jsonschema.UnmarshalJSON(newTestServer(t, &enginetest.Engine{}).get("/openapi.json").Body)
	if err != nil {
		t.Fatal(err)
	}
	d := openAPIDocument{t: t, root: root.(object), compiler: jsonschema.NewCompiler()}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource("openapi.json", root); err != nil {
		t.Fatal(err)
	}
	return d
}

// at is a JSON pointer into the document (RFC 6901).
func at(base string, tokens ...string) string {
	for _, one := range tokens {
		base += "/" + strings.ReplaceAll(strings.ReplaceAll(one, "~", "~0"), "/", "~1")
	}
	return base
}

// follow returns the object at a pointer, through references, and the pointer to
// it.
func (d openAPIDocument) follow(pointer string) (object, string) {
	d.t.Helper()
	var node any = d.root
	for _, part := range strings.Split(pointer, "/")[1:] {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		switch parent := node.(type) {
		case object:
			node = parent[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i >= len(parent) {
				d.t.Fatalf("%s: no item %s", pointer, part)
			}
			node = parent[i]
		}
	}
	found, ok := node.(object)
	if !ok {
		d.t.Fatalf("%s: %v, want an object", pointer, node)
	}
	if reference, ok := found["$ref"].(string); ok {
		return d.follow(strings.TrimPrefix(reference, "#"))
	}
	return found, pointer
}

// validate holds a value against the schema at a pointer.
func (d openAPIDocument) validate(pointer string, value any) error {
	fragment := (&url.URL{Fragment: pointer}).String()
	schema, err := d.compiler.Compile("openapi.json" + fragment)
	if err != nil {
		return fmt.Errorf("compile %s: %w", pointer, err)
	}
	return schema.Validate(value)
}

// walk calls see for each object of the document with a pointer to it.
func walk(node any, pointer string, see func(pointer string, found object)) {
	switch node := node.(type) {
	case object:
		see(pointer, node)
		for _, key := range slices.Sorted(maps.Keys(node)) {
			walk(node[key], at(pointer, key), see)
		}
	case []any:
		for i, item := range node {
			walk(item, at(pointer, strconv.Itoa(i)), see)
		}
	}
}

// operations has every operation by its method and path, with a pointer to it.
func (d openAPIDocument) operations() map[string]string {
	all := make(map[string]string)
	for path, item := range d.root["paths"].(object) {
		for method := range item.(object) {
			all[strings.ToUpper(method)+" "+path] = at("", "paths", path, method)
		}
	}
	return all
}

// check holds an answer against the operation at a pointer: who it is from, its
// status, its media type, its headers and its body.
func (d openAPIDocument) check(t *testing.T, operation string, response *http.Response) {
	t.Helper()
	found, _ := d.follow(operation)
	status := strconv.Itoa(response.StatusCode)
	body := text(t, response)
	if found["responses"].(object)[status] == nil {
		t.Errorf("status %s is not documented: %s", status, body)
		return
	}
	answer, pointer := d.follow(at(operation, "responses", status))
	if server := response.Header.Get("Server"); server != api.ServerName {
		t.Errorf("the answer with status %s is from %q, want %q", status, server, api.ServerName)
	}
	headers, _ := answer["headers"].(object)
	for name := range headers {
		header, headerPointer := d.follow(at(pointer, "headers", name))
		value := response.Header.Get(name)
		if value == "" && header["required"] != true {
			continue
		}
		var typed any = value
		if slices.Contains(d.typesOf(at(headerPointer, "schema")), "integer") {
			typed = json.Number(value)
		}
		if err := d.validate(at(headerPointer, "schema"), typed); err != nil {
			t.Errorf("header %s: %v", name, err)
		}
	}
	contentType, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	if answer["content"].(object)[contentType] == nil {
		t.Errorf("content type %q is not documented for status %s", contentType, status)
		return
	}
	var value any = body
	if strings.HasSuffix(contentType, "json") {
		var err error
		if value, err = jsonschema.UnmarshalJSON(strings.NewReader(body)); err != nil {
			t.Fatalf("body %q: %v", body, err)
		}
	}
	if err := d.validate(at(pointer, "content", contentType, "schema"), value); err != nil {
		t.Errorf("%v\n%s", err, body)
	}
}
