// Package client is a typed client of the agent's HTTP API. One Client talks
// to the agent of one pod, and there is a method for each route:
//
//	latency  GET /latency/20ms, DELETE /latency   SetLatency, Latency, ClearLatency
//	faults   /v1/faults                           Faults, ReplaceFaults, ReplaceOwned, DeleteFaults
//	a fault  /v1/faults/NAME                      Fault, SetFault, DeleteFault
//	reads    /v1/status, /v1/measure              Status, Measure
//	health   /healthz, /readyz                    Health, Ready
//	other    /openapi.json, /metrics              OpenAPI, Metrics
//
// An answer of any status but 200 is an *Error, which has the problem document.
//
// Every call lasts as long as its context allows. The client has no time-out of
// its own, because a change with Verify and a measurement last up to about two
// minutes.
//
// The requests go to the pod's address over TCP. Options.DialContext replaces
// how connections are made (from another network namespace, through a
// port-forward), and Options.Transport how requests are sent (through the API
// server's pod proxy).
package client
