package agent

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/measure"
	"github.com/tidelay/tidelay/pkg/fault"
)

// measurer takes round-trip times, one request at a time, so that clients
// can't make the pod a source of traffic.
type measurer struct {
	busy chan struct{} // holds a token while a measurement is under way
	run  func(context.Context, measure.Plan) []api.Measurement
}

func newMeasurer() measurer {
	return measurer{busy: make(chan struct{}, 1), run: measure.Run}
}

// begin reserves the measurer and returns how to give it back.
func (m measurer) begin() (end func(), err error) {
	select {
	case m.busy <- struct{}{}:
		return func() { <-m.busy }, nil
	default:
		return nil, fmt.Errorf("%w: a measurement is under way; try again when it is done", errTooMany)
	}
}

func (s *server) postMeasure(c *gin.Context) {
	if err := queryOnly(c); err != nil {
		s.fail(c, err)
		return
	}
	var body api.Measure
	if err := readBody(c, &body); err != nil {
		s.fail(c, err)
		return
	}
	plan, err := measure.Parse(body)
	if err != nil {
		s.fail(c, err)
		return
	}
	end, err := s.measurer.begin()
	if err != nil {
		s.fail(c, err)
		return
	}
	defer end()
	if err := extendDeadline(c, plan.Time()); err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, api.Measurements{Results: s.measurer.run(c.Request.Context(), plan)})
}

// extendDeadline gives an answer more time than the server's write time-out.
func extendDeadline(c *gin.Context, by time.Duration) error {
	if err := http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(writeTimeout + by)); err != nil {
		return fmt.Errorf("extend the time for the answer: %w", err)
	}
	return nil
}

// verifiedChange makes a change, and measures before and after it when that
// was asked for.
func (s *server) verifiedChange(c *gin.Context, r request, o options) (outcome, *api.Verified, error) {
	if !o.verify {
		made, err := s.control.change(r)
		return made, nil, err
	}
	peer, err := measure.ParseTarget(o.peer)
	if err != nil {
		return outcome{}, nil, queryError("peer", o.peer, "want an IP address for ping or IP:PORT for TCP")
	}
	end, err := s.measurer.begin()
	if err != nil {
		return outcome{}, nil, err
	}
	defer end()
	plan, err := s.verifyPlan(peer, r)
	if err != nil {
		return outcome{}, nil, err
	}
	if err := extendDeadline(c, 2*plan.Time()); err != nil {
		return outcome{}, nil, err
	}
	before := s.measurer.run(c.Request.Context(), plan)[0]
	made, err := s.control.change(r)
	if err != nil {
		return outcome{}, nil, err
	}
	after := s.measurer.run(c.Request.Context(), plan)[0]
	expected := s.expectedRTT(made.after, peer) - s.expectedRTT(made.before, peer)
	return made, compare(before, after, expected), nil
}

// verifyPlan has few samples, each with the time that the change may make it
// take, so that both measurements together end within about a minute.
func (s *server) verifyPlan(peer measure.Target, r request) (measure.Plan, error) {
	r.dryRun = true
	planned, err := s.control.change(r)
	if err != nil {
		return measure.Plan{}, err
	}
	const fewest, most, patience = 3, 10, 5 * time.Second
	longest := max(s.expectedRTT(planned.before, peer), s.expectedRTT(planned.after, peer))
	if longest > patience {
		return measure.Plan{}, queryError("verify", "true", fmt.Sprintf("the RTT to the peer becomes %s: want at most %s to measure it", longest, patience))
	}
	timeout := 2*longest + 500*time.Millisecond
	samples := min(max(int(measure.MaxTime/2/timeout), fewest), most) // twice
	return measure.Plan{Targets: []measure.Target{peer}, Count: samples, Interval: 50 * time.Millisecond, Timeout: timeout}, nil
}

// expectedRTT is what faults add to the RTT to a peer on average: the delay
// of the one that meets packets there, and of the one that meets the answers.
func (s *server) expectedRTT(faults []fault.Fault, peer measure.Target) time.Duration {
	packet := fault.Packet{Peer: peer.Addr, Protocol: peer.Protocol(), Remote: peer.Port}
	if peer.Port == s.exempt.ControlPort && peer.Port != 0 {
		return 0
	}
	var sum time.Duration
	for _, direction := range []fault.Direction{fault.Egress, fault.Ingress} {
		if f := fault.FaultFor(faults, direction, s.firstDevice(), packet); f != nil {
			sum += f.Impairment.Delay
		}
	}
	return sum
}

func (s *server) firstDevice() string {
	if len(s.devices) == 0 {
		return ""
	}
	return s.devices[0].Name
}

// compare says whether what was measured is what was asked for.
func compare(before, after api.Measurement, expected time.Duration) *api.Verified {
	v := &api.Verified{Before: before, After: after, AskedRTT: float64(expected) / 1e6}
	if before.Median == nil || after.Median == nil {
		v.Verdict = fmt.Sprintf("no verdict: %d of %d samples were answered before and %d of %d after", before.Received, before.Sent, after.Received, after.Sent)
		return v
	}
	measured := *after.Median - *before.Median
	v.MeasuredRTT = &measured
	// One scheduling delay, or a twentieth of what was asked for.
	tolerance := max(2, math.Abs(v.AskedRTT)/20)
	word := "agrees with"
	if math.Abs(measured-v.AskedRTT) > tolerance {
		word = "DIFFERS from"
	}
	v.Verdict = fmt.Sprintf("the median RTT to %s changed by %+.3f ms, which %s the %+.3f ms asked for (tolerance %.1f ms)",
		after.Target, measured, word, v.AskedRTT, tolerance)
	return v
}
