// Package verify decides what agents measure to find out whether faults do what is asked
// for, and what the numbers mean.
//
// New chooses pairs of pods (plan.go), by what packets between them meet (packet.go), and the
// faults whose counters are read. Judge compares one measurement with what is asked for
// (judge.go), or two readings of a fault's counters (counters.go). A State makes verdicts of
// several (state.go), and Tell makes a status of the verdicts (tell.go), in words (words.go).
//
// The baseline of a measurement is a TCP handshake with the agent's own port of the same
// peer at the same moment: no fault touches that port. So nothing has to be measured before
// a fault starts.
package verify
