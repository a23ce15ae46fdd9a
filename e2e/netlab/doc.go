// Package netlab makes labs of network namespaces for tests: a node with a
// bridge, and as many pods on it as a test needs.
//
//	          node br0          10.99.0.1
//	    ┌─────────┴─────────┐
//	pod eth0        bystander eth0   ...   10.99.0.2, 10.99.0.3, each with its IPv6 twin
//
// A Host is one namespace. It runs programs (Exec, Start), code of the test (Do,
// Enter), servers and clients (Listen, Dial, Echo), pings and numbered datagrams
// (Ping, Flow), and shows what the kernel has been told (TrafficControl, Ruleset).
// More links, for a second interface or a router, are made by Connect.
//
// Namespaces have no names in the file system: they end with the process that
// made them, however it ends.
//
// The package also has what measuring tests share: Retry with a budget for the
// whole run, statistics, and the choice of tests for one engine or one of several
// processes (Main, EngineIndependent).
package netlab
