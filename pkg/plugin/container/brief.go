package container

import (
	"encoding/json"
	"slices"
	"strings"
)

// record is a line of an agent's log.
type record struct {
	Level string `json:"level"`
	Msg   string `json:"msg"`
	Err   string `json:"err"`
}

// brief returns a message of kubelet in one line. Of a container that ended, the message may be
// the end of its log, whose first line is cut: then it is the last error or warning there, or
// "" if there is none, since what else an agent logs is not why it ended.
func brief(message string) string {
	lines := strings.FieldsFunc(message, func(r rune) bool { return r == '\n' || r == '\r' })
	isLog := false
	for _, line := range slices.Backward(lines) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Msg == "" {
			continue
		}
		if isLog = true; r.Level == "ERROR" || r.Level == "WARN" {
			return oneLine(strings.TrimSuffix(r.Msg+": "+r.Err, ": "))
		}
	}
	if isLog || len(lines) == 0 || strings.HasSuffix(strings.TrimSpace(lines[0]), "\"}") {
		return ""
	}
	return oneLine(lines[0])
}

// oneLine returns a text with single spaces between its words, and no control characters.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
