// Package bench measures the injector (`make bench-injector`) and the controller
// (`make bench-controller`).
//
// For the injector a Fleet stands in for the API server: it has any number of
// TidbClusters with their workloads, made up as they are asked for, so that ten
// thousand of them take no time to create and no memory in another process. It speaks
// as much of the API as the injector does: discovery, get, and a watch that streams
// what there is, metadata as protobuf.
//
// The controller has a real API server, because most of its time is spent there, and
// agents that are made up (package madeup).
package bench
