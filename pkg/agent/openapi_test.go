package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/measure"
	"github.com/tidelay/tidelay/pkg/fault"
)

// object is a JSON object.
type object = map[string]any

// openAPIDocument is the embedded document, taken apart.
type openAPIDocument struct {
	t        *testing.T
	root     object
	compiler *jsonschema.Compiler
}

func readOpenAPI(t *testing.T) openAPIDocument {
	t.Helper()
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(openAPI))
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

// at is a place in the document, a JSON pointer (RFC 6901).
func at(base string, tokens ...string) string {
	for _, one := range tokens {
		base += "/" + strings.ReplaceAll(strings.ReplaceAll(one, "~", "~0"), "/", "~1")
	}
	return base
}

// follow returns the object at a place, through references, and its own place.
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

// validate holds a value against the schema at a place.
func (d openAPIDocument) validate(pointer string, value any) error {
	fragment := (&url.URL{Fragment: pointer}).String()
	schema, err := d.compiler.Compile("openapi.json" + fragment)
	if err != nil {
		return fmt.Errorf("compile %s: %w", pointer, err)
	}
	return schema.Validate(value)
}

// walk calls see for each object of the document with its place.
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

// operations has every operation by its method and path, with its place.
func (d openAPIDocument) operations() map[string]string {
	all := make(map[string]string)
	for path, item := range d.root["paths"].(object) {
		for method := range item.(object) {
			all[strings.ToUpper(method)+" "+path] = at("", "paths", path, method)
		}
	}
	return all
}

func TestOpenAPIIsValid(t *testing.T) {
	loaded, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := loaded.Validate(t.Context(), openapi3.EnableMultiError()); err != nil || !loaded.IsOpenAPI31OrLater() {
		t.Errorf("version %s: %v", loaded.OpenAPI, err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, bytes.TrimSpace(openAPI), "", "  "); err != nil || indented.String()+"\n" != string(openAPI) {
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
	s := newTestServer(t, &fakeEngine{}, api.EngineNetem)
	parameter := regexp.MustCompile(`:(\w+)`)
	var want []string
	for _, route := range s.http.(*gin.Engine).Routes() {
		want = append(want, route.Method+" "+parameter.ReplaceAllString(route.Path, "{$1}"))
	}
	slices.Sort(want)
	d := readOpenAPI(t)
	operations := d.operations()
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(operations))); diff != "" {
		t.Errorf("routes (-agent +document):\n%s", diff)
	}
	names := make(map[string]string)
	for name, pointer := range operations {
		operation, _ := d.follow(pointer)
		id, _ := operation["operationId"].(string)
		if other, taken := names[id]; taken || id == "" {
			t.Errorf("%s: operationId %q, which %s has too", name, id, other)
		}
		names[id] = name
		if operation["summary"] == nil || operation["description"] == nil {
			t.Errorf("%s: want a summary and a description", name)
		}
	}
}

// wireTypes has each Go type whose JSON crosses the wire.
func wireTypes() map[string]reflect.Type {
	all := make(map[string]reflect.Type)
	for _, one := range []any{
		api.Fault{},
		api.Ports{},
		api.PortRange{},
		api.Loss{},
		api.GilbertElliott{},
		api.FourState{},
		api.Chance{},
		api.Reorder{},
		api.Rate{},
		api.FaultSet{},
		api.Latency{},
		api.Changes{},
		api.Change{},
		api.Status{},
		api.Capability{},
		api.Device{},
		api.FaultStatus{},
		api.Counters{},
		api.Measure{},
		api.Measurements{},
		api.Measurement{},
		api.Verified{},
		api.Problem{},
		api.FieldError{},
	} {
		all[reflect.TypeOf(one).Name()] = reflect.TypeOf(one)
	}
	return all
}

func TestOpenAPIHasEveryWireType(t *testing.T) {
	files, err := filepath.Glob("api/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("files %q: %v", files, err)
	}
	known := wireTypes()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.IsExported() && known[spec.Name.Name] == nil {
				t.Errorf("type %s of package api is in no test", spec.Name.Name)
			}
			return true
		})
	}
	d := readOpenAPI(t)
	for name := range known {
		if d.root["components"].(object)["schemas"].(object)[name] == nil {
			t.Errorf("no schema %s", name)
		}
	}
}

// shape is what a schema says of an object: the types of its properties, and
// which must be there.
type shape struct {
	Types    map[string]string
	Required []string
}

// shapeOf reads the schema at a place, with those it is made of.
func (d openAPIDocument) shapeOf(pointer string) shape {
	schema, pointer := d.follow(pointer)
	all := shape{Types: make(map[string]string)}
	if properties, ok := schema["properties"].(object); ok {
		for name := range properties {
			all.Types[name] = strings.Join(d.typesOf(at(pointer, "properties", name)), " or ")
		}
	}
	if parts, ok := schema["allOf"].([]any); ok {
		for i := range parts {
			part := d.shapeOf(at(pointer, "allOf", strconv.Itoa(i)))
			maps.Copy(all.Types, part.Types)
			all.Required = append(all.Required, part.Required...)
		}
	}
	if required, ok := schema["required"].([]any); ok {
		for _, name := range required {
			all.Required = append(all.Required, name.(string))
		}
	}
	slices.Sort(all.Required)
	return all
}

// typesOf lists the JSON types that the schema at a place admits.
func (d openAPIDocument) typesOf(pointer string) []string {
	schema, pointer := d.follow(pointer)
	var all []string
	switch kind := schema["type"].(type) {
	case string:
		all = append(all, kind)
	case []any:
		for _, one := range kind {
			all = append(all, one.(string))
		}
	}
	for _, word := range []string{"oneOf", "allOf"} {
		parts, _ := schema[word].([]any)
		for i := range parts {
			all = append(all, d.typesOf(at(pointer, word, strconv.Itoa(i)))...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// shapeOfType is the shape that encoding/json gives a struct.
func shapeOfType(of reflect.Type) shape {
	all := shape{Types: make(map[string]string)}
	for field := range of.Fields() {
		if field.Anonymous {
			part := shapeOfType(field.Type)
			maps.Copy(all.Types, part.Types)
			all.Required = append(all.Required, part.Required...)
			continue
		}
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		kind := jsonType(field.Type)
		if options != "omitempty" {
			all.Required = append(all.Required, name)
			if field.Type.Kind() == reflect.Pointer {
				types := []string{kind, "null"}
				slices.Sort(types)
				kind = strings.Join(types, " or ")
			}
		}
		all.Types[name] = kind
	}
	slices.Sort(all.Required)
	return all
}

func jsonType(of reflect.Type) string {
	switch of.Kind() {
	case reflect.Pointer:
		return jsonType(of.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		return "array"
	case reflect.Struct, reflect.Map:
		return "object"
	default:
		return "integer"
	}
}

func TestOpenAPISchemasAreTheWireTypes(t *testing.T) {
	d := readOpenAPI(t)
	for name, of := range wireTypes() {
		if name == "PortRange" { // marshals itself
			if got := strings.Join(d.typesOf("/components/schemas/PortRange"), " or "); got != "integer or string" {
				t.Errorf("PortRange is %s", got)
			}
			continue
		}
		if diff := cmp.Diff(shapeOfType(of), d.shapeOf(at("/components/schemas", name))); diff != "" {
			t.Errorf("%s (-type +schema):\n%s", name, diff)
		}
	}
	want := shapeOfType(reflect.TypeFor[api.Fault]())
	want.Required = nil // the name is that of the path
	if diff := cmp.Diff(want, d.shapeOf("/components/schemas/FaultBody")); diff != "" {
		t.Errorf("FaultBody (-type +schema):\n%s", diff)
	}
}

// A field that nobody knows is refused, and the document says so.
func TestOpenAPIRequestsAreClosed(t *testing.T) {
	d := readOpenAPI(t)
	seen := make(map[string]bool)
	var check func(pointer string)
	check = func(pointer string) {
		schema, pointer := d.follow(pointer)
		if seen[pointer] {
			return
		}
		seen[pointer] = true
		if schema["properties"] != nil && schema["type"] == "object" && schema["additionalProperties"] != false {
			t.Errorf("%s: want additionalProperties false", pointer)
		}
		walk(schema, pointer, func(_ string, found object) {
			if reference, ok := found["$ref"].(string); ok {
				check(strings.TrimPrefix(reference, "#"))
			}
		})
	}
	for _, pointer := range d.operations() {
		if operation, _ := d.follow(pointer); operation["requestBody"] != nil {
			check(at(pointer, "requestBody", "content", "application/json", "schema"))
		}
	}
	if len(seen) < 10 {
		t.Errorf("only %d schemas of requests", len(seen))
	}
}

// example is a value that the document shows, and the place of its schema.
type example struct {
	place, schema string
	value         any
}

func (d openAPIDocument) examples() []example {
	var all []example
	walk(d.root, "", func(pointer string, found object) {
		schema := pointer
		if found["schema"] != nil {
			schema = at(pointer, "schema")
			if value, ok := found["example"]; ok {
				all = append(all, example{pointer, schema, value})
			}
		}
		switch examples := found["examples"].(type) {
		case []any:
			for _, value := range examples {
				all = append(all, example{pointer, schema, value})
			}
		case object:
			for name, one := range examples {
				all = append(all, example{at(pointer, "examples", name), schema, one.(object)["value"]})
			}
		}
	})
	return all
}

func TestOpenAPIExamples(t *testing.T) {
	d := readOpenAPI(t)
	parsed := 0
	for _, e := range d.examples() {
		if err := d.validate(e.schema, e.value); err != nil {
			t.Errorf("%s: %v", e.place, err)
		}
		content, err := json.Marshal(e.value)
		if err != nil {
			t.Fatal(err)
		}
		_, target := d.follow(e.schema)
		known, err := parseExample(target, content)
		if err != nil {
			t.Errorf("%s is not what the agent accepts: %v", e.place, err)
		}
		if known {
			parsed++
		}
	}
	if parsed < 15 {
		t.Errorf("only %d examples of faults and measurements", parsed)
	}
}

// parseExample reads an example as the agent reads a request, if it is of a
// type that requests have.
func parseExample(schema string, content []byte) (known bool, err error) {
	limits := fault.Limits{Stored: true, Devices: []string{"eth0"}}
	switch name := strings.TrimPrefix(schema, "/components/schemas/"); name {
	case "Fault", "FaultBody":
		var one api.Fault
		if err := fault.Decode(content, &one); err != nil {
			return true, err
		}
		if name == "FaultBody" && one.Name == "" {
			one.Name = "of-the-path"
		}
		_, err = fault.ParseSet([]api.Fault{one}, limits)
		return true, err
	case "FaultSet":
		var set api.FaultSet
		if err := fault.Decode(content, &set); err != nil {
			return true, err
		}
		_, err = fault.ParseSet(set.Faults, limits)
		return true, err
	case "Measure":
		var one api.Measure
		if err := fault.Decode(content, &one); err != nil {
			return true, err
		}
		_, err = measure.Parse(one)
		return true, err
	default:
		return false, nil
	}
}

// The schemas refuse what the agent refuses, as far as schemas can.
func TestOpenAPIRefusesWhatTheAgentRefuses(t *testing.T) {
	d := readOpenAPI(t)
	for schema, bodies := range map[string][]string{
		"FaultBody": {
			`{}`, `[]`, `null`, `{"delay":20}`, `{"delay":"20m"}`, `{"dealy":"20ms"}`, `{"jitter":"5ms"}`, `{"name":"A","delay":"1ms"}`,
			`{"delay":"1ms","correlation":5}`, `{"delay":"1ms","distribution":"normal"}`, `{"delay":"2ms","jitter":"1ms","distribution":"gauss"}`,
			`{"delay":"1ms","direction":"up"}`, `{"delay":"1ms","protocol":"sctp"}`, `{"delay":"1ms","protocol":"icmp","ports":{"local":[1]}}`,
			`{"delay":"1ms","ports":{}}`, `{"delay":"1ms","ports":{"remote":[0]}}`, `{"delay":"1ms","ports":{"remote":["1-2-3"]}}`, `{"delay":"1ms","ports":{"remotes":[1]}}`,
			`{"loss":{}}`, `{"loss":{"percent":0}}`, `{"loss":{"percent":101}}`, `{"loss":{"correlation":5}}`, `{"loss":{"percent":1,"fourState":{"p13":1,"p31":1}}}`,
			`{"duplicate":{"percent":-1}}`, `{"corrupt":{"percent":1,"gap":5}}`, `{"reorder":{"percent":1}}`, `{"delay":"1ms","reorder":{"percent":1,"gap":1000001}}`,
			`{"rate":{}}`, `{"rate":{"perSecond":"1000"}}`, `{"rate":{"perSecond":"1mbit","cellSize":10001}}`, `{"rate":{"perSecond":"1mbit","cellOverhead":5}}`,
			`{"partition":true,"delay":"1ms"}`, `{"partition":true,"seed":1}`, `{"partition":1}`, `{"loss":{"percent":1},"seed":-1}`, `{"loss":{"percent":1},"seed":9007199254740992}`,
			`{"delay":"1ms","duration":"90"}`, `{"delay":"1ms","expiresAt":"tomorrow"}`, `{"delay":"1ms","duration":"1m","expiresAt":"2030-01-31T12:00:00Z"}`,
		},
		"Fault":    {`{"name":"","delay":"1ms"}`, `{"name":"a"}`, `{"name":"a/b","delay":"1ms"}`},
		"FaultSet": {`{"faults":[{"name":"a"}]}`, `{"faults":{}}`, `{"faults":[],"version":1}`},
		"Measure": {
			`{}`, `{"targets":[]}`, `{"targets":["10.0.0.5"],"protocol":"udp"}`, `{"targets":["10.0.0.5"],"count":101}`, `{"targets":["10.0.0.5"],"interval":"100"}`, `{"targets":["10.0.0.5"],"size":64}`,
		},
	} {
		pointer := at("/components/schemas", schema)
		for _, body := range bodies {
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if d.validate(pointer, value) == nil {
				t.Errorf("schema %s admits %s", schema, body)
			}
			if known, err := parseExample(pointer, []byte(body)); err == nil || !known {
				t.Errorf("the agent accepts %s as a %s", body, schema)
			}
		}
	}
}
