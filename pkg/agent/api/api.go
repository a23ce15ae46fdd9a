// Package api is what the agent and its clients agree on: the control port, the
// routes and the JSON types. It uses the standard library only, so that any
// program can import it without linking the agent.
package api

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Port is the TCP port of the agent's HTTP API in every injected pod. No fault
// ever touches its packets.
const Port = 2332

// Bounds of a fault's duration. A fault without one stays until it is removed.
const (
	MinDuration = time.Second
	MaxDuration = 30 * 24 * time.Hour
)

// The engines, as answers and the agent's --engine name them.
const (
	// EngineNetem is the kernel's network emulator, tc-netem(8).
	EngineNetem = "netem"
	// EngineNFQueue delays packets in user space, for kernels without netem.
	EngineNFQueue = "nfqueue"
	// EngineNone stands for the engine where none works.
	EngineNone = "none"
	// EngineAuto asks for the first of them that works.
	EngineAuto = "auto"
)

// Routes of the agent. Some have a value, which is appended after a slash: PathLatency + "/20ms", PathFaults + "/slow-store".
const (
	PathLatency = "/latency"
	PathFaults  = "/v1/faults"
	PathStatus  = "/v1/status"
	PathMeasure = "/v1/measure"
	PathOpenAPI = "/openapi.json"
	PathHealthz = "/healthz"
	PathReadyz  = "/readyz"
	PathMetrics = "/metrics"
)

// ServerName is the value of the header Server (RFC 9110, 10.2.4) of every answer of
// the agent, whatever its status. By it a client tells the agent from another process
// that has the port.
const ServerName = "tidelay-agent"

// HeaderToken is a request header with the agent's token. It says the same as
// "Authorization: Bearer TOKEN", which the API server's pod proxy removes.
const HeaderToken = "X-Tidelay-Token"

// HeaderPod is a request header with the UID of the pod that the request is meant
// for. An address passes from one pod to another, and a pod of a StatefulSet has the
// name of the one before it. An agent whose pod has another UID answers with status
// 421 and changes nothing. An agent that does not know its pod's UID, or that is
// older than this header, ignores it.
const HeaderPod = "X-Tidelay-Pod"

// PodUIDAccepted says what IsPodUID accepts.
const PodUIDAccepted = "want the UID of a pod: from 1 to 64 letters, digits and hyphens"

var podUIDPattern = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

// IsPodUID reports whether s can be the UID of a pod. Those of the API server are
// UUIDs, of 36 characters.
func IsPodUID(s string) bool { return podUIDPattern.MatchString(s) }

// ContentTypeProblem is the media type of every error body (RFC 9457).
const ContentTypeProblem = "application/problem+json"

// Problem is an error body, RFC 9457.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// Errors lists each bad value of the request.
	Errors []FieldError `json:"errors,omitempty"`
}

// FieldError is one bad value of a request.
type FieldError struct {
	// Field names it: "faults[2].loss.percent", "query jitter".
	Field string `json:"field"`
	// Value is what was given, shortened if it is long.
	Value string `json:"value"`
	// Accepted says what would have been accepted.
	Accepted string `json:"accepted"`
}

// Error implements error.
func (e FieldError) Error() string {
	return fmt.Sprintf("%s %q: %s", e.Field, Shorten(e.Value), e.Accepted)
}

// MaxEcho is how many bytes of a user's value an answer repeats. No valid delay,
// rate or duration is longer.
const MaxEcho = 32

// Shorten cuts a user's value to MaxEcho bytes and marks the cut with "...", so
// that it can't fill an answer or the log.
func Shorten(s string) string {
	if len(s) > MaxEcho {
		return strings.ToValidUTF8(s[:MaxEcho], "") + "..."
	}
	return s
}
