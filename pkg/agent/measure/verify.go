package measure

import (
	"fmt"
	"math"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// AddedRTT is what faults add to the RTT to a peer on average: the delay of the
// fault that packets to the peer meet on a device, and of the fault that its
// answers meet.
func AddedRTT(faults []fault.Fault, peer Target, device string, exempt fault.Exemption) time.Duration {
	if peer.Port == exempt.ControlPort && peer.Port != 0 {
		return 0
	}
	packet := fault.Packet{Peer: peer.Addr, Protocol: peer.Protocol(), Remote: peer.Port}
	var sum time.Duration
	for _, direction := range []fault.Direction{fault.Egress, fault.Ingress} {
		if f := fault.FaultFor(faults, direction, device, packet); f != nil {
			sum += f.Impairment.Delay
		}
	}
	return sum
}

// VerifyPlan returns a plan to measure to a peer before and after a change.
// Longest is the most that faults add to the RTT, before or after; it may be at
// most 5s. Both measurements together end within about a minute, so a longer RTT
// means fewer samples.
func VerifyPlan(peer Target, longest time.Duration) (Plan, error) {
	const fewest, most, patience = 3, 10, 5 * time.Second
	if longest > patience {
		return Plan{}, fmt.Errorf("the RTT to the peer becomes %s: want at most %s to measure it", longest, patience)
	}
	timeout := 2*longest + 500*time.Millisecond
	samples := min(max(int(MaxTime/2/timeout), fewest), most)
	return Plan{Targets: []Target{peer}, Count: samples, Interval: 50 * time.Millisecond, Timeout: timeout}, nil
}

// Compare says whether the RTT to a peer changed by what was asked for. The
// tolerance is 2 ms, which one late wake-up of a busy machine can take, or a
// twentieth of what was asked for if that is more.
func Compare(before, after api.Measurement, asked time.Duration) *api.Verified {
	v := &api.Verified{Before: before, After: after, AskedRTT: float64(asked) / float64(time.Millisecond)}
	if before.Median == nil || after.Median == nil {
		v.Verdict = fmt.Sprintf("no verdict: %d of %d samples were answered before and %d of %d after", before.Received, before.Sent, after.Received, after.Sent)
		return v
	}
	measured := *after.Median - *before.Median
	v.MeasuredRTT = &measured
	tolerance := max(2, math.Abs(v.AskedRTT)/20)
	word := "agrees with"
	if math.Abs(measured-v.AskedRTT) > tolerance {
		word = "DIFFERS from"
	}
	v.Verdict = fmt.Sprintf("the median RTT to %s changed by %+.3f ms, which %s the %+.3f ms asked for (tolerance %.1f ms)",
		after.Target, measured, word, v.AskedRTT, tolerance)
	return v
}
