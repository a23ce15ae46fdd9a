package keeper

import (
	"time"
)

// youth is how long the agent of a pod that is new, or has a new address, is expected to
// start listening at any moment.
const youth = time.Minute

// How long to wait before an agent that failed is asked again.
const (
	// A young agent that does not answer is asked so often that it has its faults
	// within a second of its listening.
	shortestYoung = 200 * time.Millisecond
	longestYoung  = 500 * time.Millisecond
	shortest      = time.Second
	longest       = 30 * time.Second
)

// untilRetry returns after what time an agent is asked again that has failed for so
// long. It is a tenth of that time within bounds, and the longest time if the same
// request will come to the same result.
func untilRetry(res result, failing time.Duration, isYoung bool) time.Duration {
	tenth := failing / 10
	switch {
	case res.outcome.isLasting():
		return longest
	case res.outcome.isSilent() && isYoung:
		return clamp(tenth, shortestYoung, longestYoung)
	default:
		return clamp(max(tenth, res.retryAfter), shortest, longest)
	}
}

func clamp(d, least, most time.Duration) time.Duration { return min(max(d, least), most) }
