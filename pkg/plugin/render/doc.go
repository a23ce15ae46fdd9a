// Package render says what the injector makes of pods and workloads in YAML, by the injector's
// own code and without a cluster. What only a cluster knows is assumed, and said.
//
// The package is pure.
package render
