// Package peer measures the injector beside another one, Istio's, in one
// process and in turns: `make bench-injector PEER=1`. It is a module of its own,
// so that ours does not require Istio.
package peer
