package object

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Difference is a field of a spec whose value changes.
type Difference struct {
	// Field is its name, as in "jitter".
	Field string
	// Was and Is are its values in words; "not set" for none.
	Was, Is string
}

// Differences returns the fields of the specs that differ, by name. How long an object lasts is not
// among them: End says that.
func Differences(before, after client.Object) ([]Difference, error) {
	was, err := fields(before)
	if err != nil {
		return nil, err
	}
	is, err := fields(after)
	if err != nil {
		return nil, err
	}
	names := maps.Clone(was)
	maps.Copy(names, is)
	var all []Difference
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if name != "duration" && name != "untilDeleted" && !equality.Semantic.DeepEqual(was[name], is[name]) {
			all = append(all, Difference{name, value(was[name]), value(is[name])})
		}
	}
	return all, nil
}

// fields returns the fields of a spec as JSON has them, but for delay: that is rtt one way.
func fields(o client.Object) (map[string]any, error) {
	var content struct{ Spec map[string]any }
	text, err := json.Marshal(o)
	if err == nil {
		err = json.Unmarshal(text, &content)
	}
	if err != nil {
		return nil, fmt.Errorf("compare %s %s: %w", Kind(o), o.GetName(), err)
	}
	if delay, is := content.Spec["delay"]; is {
		content.Spec["rtt"] = delay
		delete(content.Spec, "delay")
	}
	return content.Spec, nil
}

// longest is how many characters of a value are shown: a topology may have many links.
const longest = 80

// value returns a value in words.
func value(v any) string {
	text := inWords(v)
	if short := fmt.Sprintf("%.*s", longest, text); short != text {
		return short + "..."
	}
	return text
}

func inWords(v any) string {
	var parts []string
	switch v := v.(type) {
	case nil:
		return "not set"
	case []any:
		for _, one := range v {
			parts = append(parts, inWords(one))
		}
		return strings.Join(parts, ", ")
	case map[string]any:
		if len(v) == 1 { // as of loss, whose percent it is
			for _, only := range v {
				return inWords(only)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, name+" "+inWords(v[name]))
		}
		return strings.Join(parts, " ")
	default:
		return fmt.Sprint(v)
	}
}
