// Package agent is the process inside every injected pod: an HTTP API on port
// 2332 that turns a request for latency into kernel state, proves it by
// reading the kernel back, and says what it means.
//
// The parts, from the wire to the kernel:
//
//	http.go      routes, and which error is which status
//	describe.go  a fault in the words of the user, of ping and of tc
//	control.go   one change at a time: remember, apply, read back
//	store.go     the desired state on disk, for the next agent
//	engine.go    which engine runs here, and why
//	netem/, nfqueue/   the only code that changes the kernel
package agent
