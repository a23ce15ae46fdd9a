package fault

import (
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Bounds of a delay and a jitter.
const (
	// MinDelay is one of the smallest unit that a delay can be written in.
	MinDelay = time.Microsecond
	// MaxDelay is far longer than any TCP connection survives, and both engines
	// can delay a packet that long.
	MaxDelay = 10 * time.Minute
	// MaxJitter is the most whole seconds that fit in the kernel's 31 bits of
	// nanoseconds (tabledist in net/sched/sch_netem.c).
	MaxJitter = 2 * time.Second
)

// jitterCut is where all distributions but the uniform one end, in standard
// deviations: the kernel's tables have 16 bits, and NETEM_DIST_SCALE is 8192
// (include/uapi/linux/pkt_sched.h).
const jitterCut = 4

// LongestDelay returns the longest that a packet can be late by its delay and
// jitter. A rate adds to it what the packet waits for its turn on the link.
func (i Impairment) LongestDelay() time.Duration {
	switch i.Distribution {
	case Normal, Pareto, ParetoNormal:
		return i.Delay + jitterCut*i.Jitter
	default:
		return i.Delay + i.Jitter
	}
}

// DelayAccepted ends every message about a bad delay.
const DelayAccepted = `want a number with the unit us, ms or s ("20ms", "1.5ms", "500us", "1s"), or a bare number of milliseconds, ` +
	`from 1us to 600s; 0 clears`

var delayPattern = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)(us|ms|s)?$`)

// unit returns the size of a unit of delayPattern; without a name it is 1 ms.
func unit(name string) time.Duration {
	switch name {
	case "s":
		return time.Second
	case "us":
		return time.Microsecond
	default:
		return time.Millisecond
	}
}

// ParseDelay reads a one-way delay: a decimal number with the unit us, ms or s, or
// a bare number of milliseconds. It returns 0, or a whole number of nanoseconds
// from MinDelay to MaxDelay. It does not round: a fraction of a nanosecond is an
// error. The error names the value and says what is accepted.
func ParseDelay(s string) (time.Duration, error) {
	match := delayPattern.FindStringSubmatch(s)
	if match == nil || len(s) > api.MaxEcho {
		return 0, fmt.Errorf("delay %q: %s", api.Shorten(s), DelayAccepted)
	}
	number, ok := new(big.Rat).SetString(match[1])
	if !ok {
		return 0, fmt.Errorf("delay %q: %s", api.Shorten(s), DelayAccepted)
	}
	nanoseconds := number.Mul(number, new(big.Rat).SetInt64(int64(unit(match[2]))))
	if nanoseconds.Sign() == 0 {
		return 0, nil
	}
	if nanoseconds.Cmp(new(big.Rat).SetInt64(int64(MinDelay))) < 0 {
		return 0, fmt.Errorf("delay %q is below the least, 1us: %s", api.Shorten(s), DelayAccepted)
	}
	if nanoseconds.Cmp(new(big.Rat).SetInt64(int64(MaxDelay))) > 0 {
		return 0, fmt.Errorf("delay %q is beyond the cap, 600s: %s", api.Shorten(s), DelayAccepted)
	}
	if !nanoseconds.IsInt() {
		return 0, fmt.Errorf("delay %q is finer than a nanosecond: %s", api.Shorten(s), DelayAccepted)
	}
	return time.Duration(nanoseconds.Num().Int64()), nil
}

// FormatDelay writes a delay of at most MaxDelay exactly, as ParseDelay reads it,
// in the largest of the units us, ms and s of which there is at least one:
// "500us", "1.5ms", "90s". Zero is "0".
func FormatDelay(d time.Duration) string {
	for _, name := range []string{"s", "ms", "us"} {
		if size := unit(name); d >= size {
			// 600 s are 12 digits of nanoseconds, and a float64 is exact to 15.
			return strconv.FormatFloat(float64(d)/float64(size), 'f', -1, 64) + name
		}
	}
	return "0"
}
