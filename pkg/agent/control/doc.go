// Package control keeps the desired set of faults and makes the kernel equal to
// it through an engine: one change at a time, stored before it is applied, and
// ended when a fault's time is over.
package control
