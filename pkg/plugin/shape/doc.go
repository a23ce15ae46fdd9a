// Package shape says which pods are cut off from which, for the shapes of partitions that tests
// of databases have: those of Jepsen's nemesis (jepsen.nemesis: bisect, bridge, majorities-ring
// and split-one).
//
// The package is pure.
package shape
