// Package api is what the agent and everything that talks to it agree on: the
// control port, the routes, and the JSON that crosses them. It uses the
// standard library only, so that the injector, the CLI and the tests can
// import it without linking the agent.
package api

import "time"

// Port is the TCP port of the agent's HTTP API in every injected pod, and the
// one port whose packets no fault ever touches.
const Port = 2332

// Bounds of how long a fault lasts that does not stay until it is cleared.
const (
	MinDuration = time.Second
	MaxDuration = 30 * 24 * time.Hour
)

// Routes of the agent. A route that takes a value has it appended after a
// slash: PathLatency + "/20ms", PathFaults + "/slow-store".
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
	// Field is its place: "faults[2].loss.percent", "query jitter".
	Field string `json:"field"`
	// Value is what was given, shortened if it is long.
	Value string `json:"value"`
	// Accepted says what would have been accepted.
	Accepted string `json:"accepted"`
}
