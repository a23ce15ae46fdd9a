// Package object makes NetworkFaults and NetworkTopologies of what a person asks for, and says
// what has to be done to an object that is there already.
//
// The package is pure.
package object
