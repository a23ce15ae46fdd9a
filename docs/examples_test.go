package docs

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/measure"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
)

// limits are an agent's with an interface eth0, a month before the documents'
// points in time.
func limits() fault.Limits {
	return fault.Limits{Now: fault.Moment{Wall: time.Date(2030, 1, 10, 0, 0, 0, 0, time.UTC)}, Devices: []string{"eth0"}}
}

// checkContent parses the values of a path and a body as the agent does.
func checkContent(path string, values map[string]string, body string) error {
	if delay := values["delay"]; delay != "" {
		if _, err := fault.ParseDelay(delay); err != nil {
			return err
		}
	}
	if body == "" {
		return nil
	}
	switch path {
	case api.PathFaults:
		var set api.FaultSet
		if err := fault.Decode([]byte(body), &set); err != nil {
			return err
		}
		_, err := fault.ParseSet(set.Faults, limits())
		return err
	case api.PathFaults + "/{name}":
		wire := api.Fault{}
		if err := fault.Decode([]byte(body), &wire); err != nil {
			return err
		}
		wire.Name = values["name"]
		_, err := fault.Parse(wire, limits())
		return err
	case api.PathMeasure:
		var plan api.Measure
		if err := fault.Decode([]byte(body), &plan); err != nil {
			return err
		}
		_, err := measure.Parse(plan)
		return err
	}
	return errors.New("this route takes no body")
}

// Every fault that a page shows as JSON is one that the agent takes.
func TestFaults(t *testing.T) {
	shown := 0
	for _, p := range allPages(t) {
		for _, b := range p.blocks {
			if b.language != "json" {
				continue
			}
			decoder := json.NewDecoder(strings.NewReader(b.content))
			for {
				var raw json.RawMessage
				err := decoder.Decode(&raw)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%s: %v in:\n%s", p.name, err, b.content)
				}
				shown++
				var wire api.Fault
				if err := fault.Decode(raw, &wire); err != nil {
					t.Errorf("%s: %v in:\n%s", p.name, err, raw)
				} else if _, err := fault.Parse(wire, limits()); err != nil {
					t.Errorf("%s: %v in:\n%s", p.name, err, raw)
				}
			}
		}
	}
	if shown < 10 {
		t.Errorf("the pages show %d faults: they are not found", shown)
	}
}

// Every YAML that a page shows is well formed, and a whole object is one that
// the API server takes.
func TestYAML(t *testing.T) {
	shown := 0
	for _, p := range allPages(t) {
		for _, b := range p.blocks {
			if b.language != "yaml" {
				continue
			}
			shown++
			var object struct{ Kind string }
			if err := yaml.Unmarshal([]byte(b.content), &object); err != nil {
				t.Errorf("%s: %v in:\n%s", p.name, err, b.content)
			}
			switch object.Kind {
			case "": // a part of one
			case "NetworkPolicy":
				checkObject(t, p.name, b.content, &networkingv1.NetworkPolicy{})
			case "NetworkFault":
				checkObject(t, p.name, b.content, &v1alpha1.NetworkFault{})
			case "NetworkTopology":
				checkObject(t, p.name, b.content, &v1alpha1.NetworkTopology{})
			default:
				t.Errorf("%s: kind %s: this test does not know how to check it", p.name, object.Kind)
			}
		}
	}
	if shown == 0 {
		t.Error("no page shows YAML: the blocks are not found")
	}
}

// checkObject is an error for a field that the type of the object does not have.
func checkObject(t *testing.T, page, text string, object any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), object); err != nil {
		t.Errorf("%s: %v in:\n%s", page, err, text)
	}
}

// Blocks have a language that the tests know, or none.
func TestLanguages(t *testing.T) {
	for _, p := range allPages(t) {
		for _, b := range p.blocks {
			switch b.language {
			case "", "json", "yaml":
			default:
				t.Errorf("%s: a block in %q, which no test reads", p.name, b.language)
			}
			if bytes.ContainsRune([]byte(b.content), '\t') {
				t.Errorf("%s: a block has a tab:\n%s", p.name, b.content)
			}
		}
	}
}
