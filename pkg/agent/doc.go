// Package agent is the process inside every injected pod. It turns requests for
// faults, which come over HTTP, into kernel state, proves that by reading the
// kernel back, and says what it means.
//
// This package has the options, the choice of the engine and Run. The parts,
// from the wire to the kernel:
//
//	api       routes and JSON types, shared with clients
//	client    typed client of the API
//	httpapi   routes, statuses, metrics
//	explain   faults, exemptions and warnings in words
//	control   the desired faults: changed one at a time, stored, ended on time
//	measure   RTT to other hosts, and whether it is what was asked for
//	netem     engine for kernels with tc-netem(8)
//	nfqueue   engine for kernels without
//	rtnl      the pod's interfaces and gateways, as they come and go
//
// What a fault is, and which packets it meets, is package fault.
package agent
