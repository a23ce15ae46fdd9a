package plugin

import (
	"regexp"
	"strings"
)

// field finds the fields of a spec in a message: spec.from[0], spec.loss.percent.
var field = regexp.MustCompile(`\bspec\.([a-zA-Z]+)(\.[a-zA-Z]+|\[[0-9]+\])*`)

// flagOf returns what a person types for a field of a spec; "" if nothing does.
func flagOf(name string) string {
	return map[string]string{
		"from": "--from", "to": "--to", "ports": "--ports", "protocol": "--protocol", "seed": "--seed", "oneWay": "--one-way",
		"rtt": "RTT", "delay": "RTT", "jitter": "--jitter", "loss": "--loss", "rate": "--rate",
		"duration": "--for", "untilDeleted": "--until-deleted", "allow": "--allow",
		"profile": "--profile", "spread": "--spread", "zoneKey": "--zone-key",
	}[name]
}

// typed returns a message that names fields of the object with what a person has typed for
// them instead.
func (w *writing) typed(message string) string {
	if w.byFields {
		return message
	}
	return field.ReplaceAllStringFunc(message, func(text string) string {
		if flag := flagOf(field.FindStringSubmatch(text)[1]); flag != "" {
			return flag
		}
		return strings.TrimPrefix(text, "spec.")
	})
}
