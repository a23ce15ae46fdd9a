package report

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Essence returns a text that is the same as long as nothing changes but what passes with time:
// how much is left, and the lives of faults that the controller renews.
func (r *Report) Essence() (string, error) {
	some := *r
	some.Pods = slices.Clone(r.Pods)
	for i := range some.Pods {
		a := &some.Pods[i].Agent
		a.Faults = slices.Clone(a.Faults)
		for j := range a.Faults {
			if !a.Faults[j].isByHand() {
				a.Faults[j].Ends = nil
			}
		}
	}
	return encoded(some)
}

// Essence returns a text that is the same as long as nothing changes.
func (l *List) Essence() (string, error) { return encoded(l) }

func encoded(data any) (string, error) {
	content, err := json.Marshal(data)
	if err != nil {
		return "", fmt.Errorf("encode report: %w", err)
	}
	return string(content), nil
}
