package decide

import (
	"slices"
	"strings"
)

// warnings are what agents warn of about one object.
type warnings struct {
	texts []string            // in the order of the first pods that have them
	pods  map[string][]string // by text
}

// add adds those warnings of a pod's agent that are about an object.
func (w *warnings) add(object, pod string, all []Warning) {
	if w.pods == nil {
		w.pods = map[string][]string{}
	}
	for _, one := range all {
		if !slices.Contains(one.Objects, object) || slices.Contains(w.pods[one.Text], pod) {
			continue
		}
		if w.pods[one.Text] == nil {
			w.texts = append(w.texts, one.Text)
		}
		w.pods[one.Text] = append(w.pods[one.Text], pod)
	}
}

// text returns the first warnings, each with its pods, as the end of a message; "" for
// none.
func (w *warnings) text() string {
	const shown = 4
	var all strings.Builder
	for _, text := range w.texts[:min(len(w.texts), shown)] {
		all.WriteString("; " + list(w.pods[text]) + ": " + text)
	}
	return all.String()
}
