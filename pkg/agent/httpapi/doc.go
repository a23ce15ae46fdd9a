// Package httpapi is the agent's HTTP API: routes, who may use them, the form
// of answers and errors, metrics, and the OpenAPI document. It turns requests
// into calls of a control and answers with what the kernel then has; it does not
// touch the kernel itself.
package httpapi
