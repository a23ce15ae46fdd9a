// Package madeup has agents that are made up, in the process of a test. They speak the
// agent's API as far as the controller uses it: they take faults by owner, end them on
// time, and refuse a request that is meant for another pod. They touch no packet.
//
// Agents are told apart by the address that a connection was made to, so that one
// process has as many as there are addresses in 127.0.0.0/8. All of them listen on
// api.Port, which no other process on the machine's loopback may have at the same
// address: each test that runs at the same time needs addresses of its own, and
// ListenEverywhere needs the port on all addresses.
package madeup
