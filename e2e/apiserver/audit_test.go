//go:build apiserver

package apiserver

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// auditLog reads what kube-apiserver wrote about each request.
type auditLog struct {
	path    string
	offset  int64
	events  map[string]auditEvent
	asked   map[string]int // how often each of Tidelay's programs made a request
	refused []auditEvent   // the requests that they were not allowed
}

// auditEvent is the part of an audit.k8s.io/v1 Event that the tests read.
type auditEvent struct {
	AuditID          string
	Verb, RequestURI string
	User             struct{ Username string }
	ResponseStatus   struct {
		Code    int
		Message string
	}
	Annotations map[string]string
}

// event waits for the event of one request: the log is written about when the
// answer is sent.
func (l *auditLog) event(t *testing.T, id string) auditEvent {
	t.Helper()
	var event auditEvent
	eventually(t, 10*time.Second, func() error {
		if err := l.read(); err != nil {
			return err
		}
		found, ok := l.events[id]
		if !ok {
			return fmt.Errorf("no audit event %s", id)
		}
		event = found
		return nil
	})
	return event
}

// read takes in the lines that are new since the last read.
func (l *auditLog) read() error {
	file, err := os.Open(l.path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Seek(l.offset, io.SeekStart); err != nil {
		return err
	}
	if l.events == nil {
		l.events, l.asked = map[string]auditEvent{}, map[string]int{}
	}
	for lines := bufio.NewReader(file); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // an unfinished line is read next time
		}
		if err != nil {
			return err
		}
		l.offset += int64(len(line))
		var event auditEvent
		if err := json.Unmarshal(bytes.TrimSpace(line), &event); err != nil {
			return fmt.Errorf("read audit log: %w", err)
		}
		l.events[event.AuditID] = event
		if name, ok := strings.CutPrefix(event.User.Username, userPrefix); ok {
			l.asked[name]++
			if event.ResponseStatus.Code == http.StatusForbidden {
				l.refused = append(l.refused, event)
			}
		}
	}
}

// reason is the injector's word for what it did, in its last answer about the
// pod, or "" when it was not asked.
func (e auditEvent) reason() string {
	return e.Annotations[webhookName+"/reason"]
}

// calls counts how often the API server asked the injector about the pod, in
// the first round and in the reinvocation.
func (e auditEvent) calls() int {
	return len(e.mutations())
}

// mutated tells that one of these calls changed the pod.
func (e auditEvent) mutated() bool {
	return slices.Contains(e.mutations(), true)
}

// failedOpen tells that the API server could not reach the injector and went
// on without it.
func (e auditEvent) failedOpen() bool {
	for key, value := range e.Annotations {
		if strings.HasPrefix(key, "failed-open.mutation.webhook.admission.k8s.io/") && value == webhookName {
			return true
		}
	}
	return false
}

// mutations returns, for each call of our webhook, whether it changed the pod.
// The API server notes that under a key with round and index of the webhook.
func (e auditEvent) mutations() []bool {
	var mutations []bool
	for key, value := range e.Annotations {
		var note struct {
			Configuration string
			Mutated       bool
		}
		if !strings.HasPrefix(key, "mutation.webhook.admission.k8s.io/") || json.Unmarshal([]byte(value), &note) != nil {
			continue
		}
		if note.Configuration == configurationName {
			mutations = append(mutations, note.Mutated)
		}
	}
	return mutations
}
