// Package surveyor has agents measure pairs of pods, and keeps the verdicts.
//
// An agent measures at most PerMinute times a minute, one pair at a time, and no more than
// half of the time, which leaves room for people, who share its one place for measurements.
// Pairs that were never measured come first, some of them one right after the other, then others
// without a verdict, and then those that are wrong or whose last measurement contradicts the
// verdict, which leave every third measurement to the others. The others take turns, and the more
// agents there are, the longer that takes. All agents together are asked at most 50 times a second.
// Nothing that is measured delays a fault.
//
// What agents count of their faults is read in between, of all faults of an agent at once,
// and a reading is one of its PerMinute. Two readings make a comparison.
//
// An agent at which something else is found than asked for may have lost its faults. Doubt has
// them looked at, and after PutRight what was wrong there is measured anew.
//
// What is known is lost with the process, and is measured again. So in the minute in which another
// replica begins to lead, an agent may measure PerMinute times for each of the two.
package surveyor
