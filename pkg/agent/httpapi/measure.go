package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/agent/measure"
	"github.com/tidelay/tidelay/pkg/fault"
)

// measurer does the measurements of one request at a time, so that clients
// can't make the pod a source of traffic.
type measurer struct {
	busy    chan struct{} // has a value while a measurement is under way
	measure func(context.Context, measure.Plan) []api.Measurement
}

func newMeasurer(measure func(context.Context, measure.Plan) []api.Measurement) measurer {
	return measurer{busy: make(chan struct{}, 1), measure: measure}
}

// begin reserves the measurer, until end is called.
func (m measurer) begin() (end func(), err error) {
	select {
	case m.busy <- struct{}{}:
		return func() { <-m.busy }, nil
	default:
		return nil, fmt.Errorf("%w: a measurement is under way; try again when it is done", errTooMany)
	}
}

func (s *Server) postMeasure(c *gin.Context) {
	if err := queryOnly(c); err != nil {
		s.fail(c, err)
		return
	}
	var body api.Measure
	if err := decodeBody(c, &body); err != nil {
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
	c.JSON(http.StatusOK, api.Measurements{Results: s.measurer.measure(c.Request.Context(), plan)})
}

// extendDeadline gives an answer more time than the server's write time-out.
func extendDeadline(c *gin.Context, by time.Duration) error {
	if err := http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(writeTimeout + by)); err != nil {
		return fmt.Errorf("extend the time for the answer: %w", err)
	}
	return nil
}

// change makes a change. With the option verify it also measures the RTT to the
// peer before and after the change.
func (s *Server) change(c *gin.Context, edit control.Edit, o changeOptions) (control.Outcome, *api.Verified, error) {
	request := control.Request{Edit: edit, IfMatch: o.ifMatch, DryRun: o.dryRun}
	if !o.verify {
		outcome, err := s.Control.Change(request)
		return outcome, nil, err
	}
	peer, err := measure.ParseTarget(o.peer)
	if err != nil {
		return control.Outcome{}, nil, queryError("peer", o.peer, "want an IP address for ping or IP:PORT for TCP")
	}
	end, err := s.measurer.begin()
	if err != nil {
		return control.Outcome{}, nil, err
	}
	defer end()
	device, err := s.DeviceTo(peer.Addr)
	if err != nil {
		return control.Outcome{}, nil, queryError("peer", o.peer, "want a peer that can be reached: "+err.Error())
	}
	plan, err := s.verifyPlan(request, peer, device)
	if err != nil {
		return control.Outcome{}, nil, err
	}
	if err := extendDeadline(c, 2*plan.Time()); err != nil {
		return control.Outcome{}, nil, err
	}
	before := s.measurer.measure(c.Request.Context(), plan)[0]
	outcome, err := s.Control.Change(request)
	if err != nil {
		return control.Outcome{}, nil, err
	}
	after := s.measurer.measure(c.Request.Context(), plan)[0]
	asked := s.addedRTT(outcome.After.Faults, peer, device) - s.addedRTT(outcome.Before.Faults, peer, device)
	return outcome, measure.Compare(before, after, asked), nil
}

// verifyPlan returns how to measure to a peer, which is reached by a device,
// before and after a change. It finds out by a dry run what the RTT becomes.
func (s *Server) verifyPlan(r control.Request, peer measure.Target, device string) (measure.Plan, error) {
	r.DryRun = true
	outcome, err := s.Control.Change(r)
	if err != nil {
		return measure.Plan{}, err
	}
	longest := max(s.addedRTT(outcome.Before.Faults, peer, device), s.addedRTT(outcome.After.Faults, peer, device))
	plan, err := measure.VerifyPlan(peer, longest)
	if err != nil {
		return measure.Plan{}, queryError("verify", "true", err.Error())
	}
	return plan, nil
}

// addedRTT is what faults add to the RTT to a peer that is reached by a device.
// No fault is on a device that is not one of the agent's.
func (s *Server) addedRTT(faults []fault.Fault, peer measure.Target, device string) time.Duration {
	if !slices.Contains(s.deviceNames(), device) {
		return 0
	}
	return measure.AddedRTT(faults, peer, device, s.Exempt())
}
