package agent

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// setLatency makes the fault named latency that of the path and the query. A
// delay of 0 clears it, and then the query may not describe one.
func (s *server) setLatency(c *gin.Context) {
	delay, err := fault.ParseDelay(c.Param("delay"))
	if err != nil {
		s.fail(c, fault.Invalid{{Field: "delay", Value: c.Param("delay"), Accepted: fault.DelayAccepted}})
		return
	}
	var describing []string
	if delay > 0 {
		describing = []string{"jitter", "correlation", "distribution", "duration", "direction"}
	}
	options, err := changeOptions(c, describing...)
	if err != nil {
		s.fail(c, err)
		return
	}
	r := request{edit: removeOne(fault.Latency, false), match: options.match, dryRun: options.dryRun}
	if delay > 0 {
		wire, err := latencyFault(c, fault.FormatDelay(delay))
		if err != nil {
			s.fail(c, err)
			return
		}
		f, err := fault.Parse(wire, s.limits())
		if err != nil {
			s.fail(c, err)
			return
		}
		r.edit = replaceOne(f)
	}
	s.changeLatency(c, r, options)
}

// latencyFault is the fault that the query describes.
func latencyFault(c *gin.Context, delay string) (api.Fault, error) {
	correlation, err := queryNumber(c, "correlation")
	return api.Fault{
		Name:         fault.Latency,
		Delay:        delay,
		Jitter:       c.Query("jitter"),
		Correlation:  correlation,
		Distribution: c.Query("distribution"),
		Duration:     c.Query("duration"),
		Direction:    c.Query("direction"),
	}, err
}

func (s *server) clearLatency(c *gin.Context) {
	options, err := changeOptions(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.changeLatency(c, request{edit: removeOne(fault.Latency, false), match: options.match, dryRun: options.dryRun}, options)
}

func (s *server) changeLatency(c *gin.Context, r request, options options) {
	made, verified, err := s.verifiedChange(c, r, options)
	if err != nil {
		s.fail(c, err)
		return
	}
	answer := s.latency(find(made.after, fault.Latency))
	if r.dryRun {
		answer.Meaning = "dry run, nothing was changed: " + answer.Meaning
	} else {
		c.Header("ETag", revision(made.after))
	}
	answer.Verified = verified
	c.JSON(http.StatusOK, answer)
}

func (s *server) getLatency(c *gin.Context) {
	if err := queryOnly(c); err != nil {
		s.fail(c, err)
		return
	}
	now, err := s.control.read()
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("ETag", revision(now.desired))
	f := find(now.desired, fault.Latency)
	if f == nil {
		c.JSON(http.StatusOK, s.latency(nil))
		return
	}
	if _, held := now.state.Found[f.Name]; !held {
		answer := s.latency(nil)
		answer.Meaning = notHeld(*f, now.state)
		c.JSON(http.StatusOK, answer)
		return
	}
	c.JSON(http.StatusOK, s.latency(f))
}

// find returns the fault of a name, nil without.
func find(faults []fault.Fault, name string) *fault.Fault {
	for i := range faults {
		if faults[i].Name == name {
			return &faults[i]
		}
	}
	return nil
}
