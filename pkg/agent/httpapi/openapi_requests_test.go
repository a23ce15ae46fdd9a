package httpapi_test

import (
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/measure"
	"github.com/tidelay/tidelay/pkg/fault"
)

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
