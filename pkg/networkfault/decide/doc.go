// Package decide says what is to become of the NetworkFaults and NetworkTopologies of one
// TidbCluster: which of them are in force, what each pod's agent is to hold, and what each status says.
//
// Decide is a pure function of what is known at a moment. Whoever calls it writes the
// statuses, brings the faults to the agents, and calls it again when something changes
// or when the next of them ends.
package decide
