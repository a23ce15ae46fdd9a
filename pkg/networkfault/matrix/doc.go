// Package matrix reads round trips between zones from CSV, as links of a NetworkTopology. It
// is for commands that people give such a file, and no part of the controller. There are two
// forms. A list of pairs has a row for two zones:
//
//	# measured on 2030-01-31
//	from,to,rtt_ms,jitter_ms,loss_percent,rate_mbit
//	us,eu,147,2,,1000
//	us,ap,106,,,
//
// Of the columns, jitter_ms, loss_percent and rate_mbit may be left out. A pair is for both
// ways, unless there is a row in the other order too: then each way takes half of its own
// row. A zone with itself is for pods within it.
//
// A square table has a row and a column for each zone, and milliseconds in its cells. The
// row is where packets come from; the diagonal is within a zone:
//
//	rtt_ms,us,eu,ap
//	us,1,147,106
//	eu,,1,219
//	ap,,,1
//
// An empty cell says nothing, so one half of the table is enough. If both halves differ,
// each way takes half of its own cell.
//
// Lines that begin with # and empty lines are left out; so are spaces around a cell, but for
// those after a closing quote, which are refused.
// Numbers are decimal, such as 0.5, and have no unit.
//
// The package is pure.
package matrix
