// Package inplace says whether a stream of pings met a change of a round trip in place: none was
// lost, and none passed without what was in force before or after.
//
// The package is pure.
package inplace

import (
	"fmt"
	"slices"
	"time"
)

const (
	// Spacing is the time between two pings of a stream. Whatever lasts longer is met by one: of
	// a gap between what was and what is to be, pings that are further apart see nothing.
	Spacing = 5 * time.Millisecond
	// Part is how many pings are looked at together. The shortest of them was not late, on a
	// machine that does other things too.
	Part = 50

	// clock is how much too short a round trip can seem, and late how much too long the shortest
	// of a part can be.
	clock = 500 * time.Microsecond
	late  = 5 * time.Millisecond
)

// Problem says what is wrong with a stream of so many pings, whose round trips are in order of the
// answers, and were to become longer meanwhile; "" if nothing is.
func Problem(sent int, rtts []time.Duration, before, after time.Duration) string {
	if lost := sent - len(rtts); lost != 0 {
		return fmt.Sprintf("%d of %d pings were lost", lost, sent)
	}
	if len(rtts) < 2*Part {
		return fmt.Sprintf("%d pings, want %d at least", len(rtts), 2*Part)
	}
	if first := slices.Min(rtts[:Part]); !is(first, before) {
		return fmt.Sprintf("the first pings took %s, want %s", first, before)
	}
	if last := slices.Min(rtts[len(rtts)-Part:]); !is(last, after) {
		return fmt.Sprintf("the last pings took %s, want %s", last, after)
	}
	bound := before
	for part := range slices.Chunk(rtts, Part) {
		least := slices.Min(part)
		if least < bound-clock {
			return fmt.Sprintf("a ping passed in %s, want none under %s by then", least, bound)
		}
		if is(least, after) {
			bound = after
		}
	}
	return ""
}

// is reports whether the shortest of a part is what is wanted.
func is(least, want time.Duration) bool { return least >= want-clock && least <= want+late }
