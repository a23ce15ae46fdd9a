package httpapi_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

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
	files, err := filepath.Glob("../api/*.go")
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

// objectFields is what a schema says of an object: the types of its properties, and
// which are required.
type objectFields struct {
	Types    map[string]string
	Required []string
}

// fieldsOf reads the schema at a pointer, with those of its allOf.
func (d openAPIDocument) fieldsOf(pointer string) objectFields {
	schema, pointer := d.follow(pointer)
	all := objectFields{Types: make(map[string]string)}
	if properties, ok := schema["properties"].(object); ok {
		for name := range properties {
			all.Types[name] = strings.Join(d.typesOf(at(pointer, "properties", name)), " or ")
		}
	}
	if parts, ok := schema["allOf"].([]any); ok {
		for i := range parts {
			part := d.fieldsOf(at(pointer, "allOf", strconv.Itoa(i)))
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

// typesOf lists the JSON types that the schema at a pointer admits.
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

// fieldsOfType are those that encoding/json gives a struct.
func fieldsOfType(of reflect.Type) objectFields {
	all := objectFields{Types: make(map[string]string)}
	for field := range of.Fields() {
		if field.Anonymous {
			part := fieldsOfType(field.Type)
			maps.Copy(all.Types, part.Types)
			all.Required = append(all.Required, part.Required...)
			continue
		}
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		kind := jsonType(field.Type)
		if options != "omitempty" && options != "omitzero" {
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
		if diff := cmp.Diff(fieldsOfType(of), d.fieldsOf(at("/components/schemas", name))); diff != "" {
			t.Errorf("%s (-type +schema):\n%s", name, diff)
		}
	}
	want := fieldsOfType(reflect.TypeFor[api.Fault]())
	want.Required = nil // the name is that of the path
	if diff := cmp.Diff(want, d.fieldsOf("/components/schemas/FaultBody")); diff != "" {
		t.Errorf("FaultBody (-type +schema):\n%s", diff)
	}
}
