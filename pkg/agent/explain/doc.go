// Package explain says in words what faults mean: for the answers of the API,
// for its warnings and for the log. It is pure: no clock, no files, no network,
// no log.
package explain
