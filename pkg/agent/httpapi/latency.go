package httpapi

import (
	"cmp"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/agent/explain"
	"github.com/tidelay/tidelay/pkg/fault"
)

// setLatency sets the fault named latency to what the path and the query
// describe. A delay of 0 removes the fault; the query may then describe nothing.
// HEAD changes nothing.
func (s *Server) setLatency(c *gin.Context) {
	delay, err := fault.ParseDelay(c.Param("delay"))
	if err != nil {
		s.fail(c, fault.Invalid{{Field: "delay", Value: c.Param("delay"), Accepted: fault.DelayAccepted}})
		return
	}
	var describing []string
	if delay > 0 {
		describing = []string{"jitter", "correlation", "distribution", "duration", "direction"}
	}
	options, err := readChangeOptions(c, describing...)
	if err != nil {
		s.fail(c, err)
		return
	}
	ch := change{edit: control.RemoveOne(fault.Latency, false)}
	if delay > 0 {
		described, err := describedFault(c)
		if err != nil {
			s.fail(c, err)
			return
		}
		f, err := fault.ParseLatency(delay, described, s.limits())
		if err != nil {
			s.fail(c, err)
			return
		}
		ch = change{edit: control.ReplaceOne(f), sets: []string{f.Name}}
	}
	s.changeLatency(c, ch, options)
}

// describedFault is the fault that the query describes, without the delay.
func describedFault(c *gin.Context) (api.Fault, error) {
	correlation, err := queryNumber(c, "correlation")
	return api.Fault{
		Jitter:       c.Query("jitter"),
		Correlation:  correlation,
		Distribution: c.Query("distribution"),
		Duration:     c.Query("duration"),
		Direction:    c.Query("direction"),
	}, err
}

func (s *Server) clearLatency(c *gin.Context) {
	options, err := readChangeOptions(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.changeLatency(c, change{edit: control.RemoveOne(fault.Latency, false)}, options)
}

// changeLatency makes a change and answers with the fault named latency.
func (s *Server) changeLatency(c *gin.Context, ch change, o changeOptions) {
	outcome, verified, err := s.change(c, ch.edit, o)
	if err != nil {
		s.fail(c, err)
		return
	}
	answer := s.latency(fault.Find(outcome.After.Faults, fault.Latency))
	answer.Warnings = ch.warnings(outcome)
	if o.dryRun {
		answer.Meaning = "dry run, nothing was changed: " + answer.Meaning
	} else {
		c.Header("ETag", outcome.After.Revision)
	}
	answer.Verified = verified
	c.JSON(http.StatusOK, answer)
}

func (s *Server) getLatency(c *gin.Context) {
	if err := queryOnly(c); err != nil {
		s.fail(c, err)
		return
	}
	now, err := s.Control.Read()
	if err = cmp.Or(now.Unknown, err); err != nil {
		s.fail(c, err)
		return
	}
	c.Header("ETag", now.Desired.Revision)
	f := fault.Find(now.Desired.Faults, fault.Latency)
	if f == nil {
		c.JSON(http.StatusOK, s.latency(nil))
		return
	}
	if _, found := now.Found.Found[f.Name]; !found {
		answer := s.latency(nil)
		answer.Meaning = explain.Missing(*f, now.Found)
		c.JSON(http.StatusOK, answer)
		return
	}
	answer := s.latency(f)
	answer.Warnings = append(explain.Overlaps(now.Desired.Faults, f.Name), now.Limits...)
	c.JSON(http.StatusOK, answer)
}

// latency is the answer of the /latency routes for a fault, nil for none.
func (s *Server) latency(f *fault.Fault) api.Latency {
	answer := api.Latency{
		Engine:   s.Engine().Name,
		Devices:  s.deviceNames(),
		Warnings: []string{},
		Meaning:  "no fault named latency: packets pass as if there had not been one",
	}
	if f == nil {
		return answer
	}
	wire := f.Wire()
	answer.Fault = &wire
	if wire.ExpiresAt != "" {
		answer.ExpiresAt = &wire.ExpiresAt
	}
	answer.RTT = explain.RoundTrip(*f)
	answer.TC = s.TC.Equivalent(s.deviceOf(*f), *f)
	answer.Meaning = s.meaning(*f)
	return answer
}

// meaning says what a fault does, and which interface it waits for.
func (s *Server) meaning(f fault.Fault) string {
	devices, _ := s.Devices()
	return explain.Meaning(f, s.Engine().Name, api.DeviceNames(devices)) + explain.Waiting(f, devices)
}

// deviceOf returns the device of a fault, or the first one if the fault is for
// all.
func (s *Server) deviceOf(f fault.Fault) string {
	if f.Match.Device != "" {
		return f.Match.Device
	}
	return s.firstDevice()
}

// firstDevice returns the agent's first device; empty if it has none.
func (s *Server) firstDevice() string {
	names := s.deviceNames()
	if len(names) == 0 {
		return ""
	}
	return names[0]
}
