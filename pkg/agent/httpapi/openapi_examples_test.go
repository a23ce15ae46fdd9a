package httpapi_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/agent/httpapi"
)

// example is a value that the document shows, and where it and its schema are.
type example struct {
	pointer, schema string
	value           any
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
			t.Errorf("%s: %v", e.pointer, err)
		}
		content, err := json.Marshal(e.value)
		if err != nil {
			t.Fatal(err)
		}
		_, target := d.follow(e.schema)
		known, err := parseExample(target, content)
		if err != nil {
			t.Errorf("%s is not what the agent accepts: %v", e.pointer, err)
		}
		if known {
			parsed++
		}
	}
	if parsed < 15 {
		t.Errorf("only %d examples of faults and measurements", parsed)
	}
}

// The answers that the document shows are those that the agent gives.
func TestOpenAPIShowsRealAnswers(t *testing.T) {
	d := readOpenAPI(t)
	s := newTestServer(t, &enginetest.Engine{})
	const responses = "/components/responses/"
	set := at("/paths", "/v1/faults", "put")
	one := at("/paths", "/v1/faults/{name}")
	slow, _ := d.follow(at(set, "requestBody", "content", "application/json", "examples", "slowStore"))
	body, err := json.Marshal(slow["value"])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ method, path, body, pointer, name string }{
		{"GET", "/latency/20ms", "", at("/paths", "/latency/{delay}", "get", "responses", "200"), "set"},
		{"GET", "/latency", "", at("/paths", "/latency", "get", "responses", "200"), "set"},
		{"GET", "/latency/0", "", at("/paths", "/latency/{delay}", "get", "responses", "200"), "cleared"},
		{"GET", "/latency", "", at("/paths", "/latency", "get", "responses", "200"), "none"},
		{"DELETE", "/latency", "", at("/paths", "/latency", "delete", "responses", "200"), ""},
		{"PUT", "/v1/faults", string(body), at(set, "responses", "200"), ""},
		{"GET", "/v1/faults", "", at("/paths", "/v1/faults", "get", "responses", "200"), ""},
		{"GET", "/v1/faults/slow-store", "", at(one, "get", "responses", "200"), ""},
		{"DELETE", "/v1/faults/slow-store", "", at(one, "delete", "responses", "200"), ""},
		{"GET", "/v1/faults/slow-store", "", responses + "NoSuchFault", ""},
		{"PUT", "/v1/faults/slow-store", `{"peers":["10.0.0.5"],"delay":"20ms"}`, at(one, "put", "responses", "200"), ""},
		{"GET", "/latency/20m", "", responses + "BadRequest", ""},
		{"PUT", "/v1/faults", `{"faults":[{"name":"a","delay":"1ms"},{"name":"b","delay":"2ms"}]}`, responses + "Conflict", ""},
		{"PUT", "/v1/faults", strings.Repeat(" ", httpapi.MaxBody+1), responses + "TooLarge", ""},
	} {
		response, _ := d.follow(c.pointer)
		for _, media := range response["content"].(object) {
			want := media.(object)["example"]
			if c.name != "" {
				want = media.(object)["examples"].(object)[c.name].(object)["value"]
			}
			got, err := jsonschema.UnmarshalJSON(s.do(c.method, c.path, c.body).Body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(withTC(want, got), got); diff != "" {
				t.Errorf("%s %s (-document +agent):\n%s", c.method, c.path, diff)
			}
		}
	}
}

// withTC puts the commands of an answer into an example that has some of them.
func withTC(shown, got any) any {
	some, _ := shown.(object)["tc"].([]any)
	all, _ := got.(object)["tc"].([]any)
	for _, line := range some {
		if !slices.Contains(all, line) {
			return shown
		}
	}
	if len(some) == 0 {
		return shown
	}
	full := maps.Clone(shown.(object))
	full["tc"] = all
	return full
}
