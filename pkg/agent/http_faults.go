package agent

import (
	"fmt"
	"io"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/netem"
	"github.com/tidelay/tidelay/pkg/fault"
)

func (s *server) getFaults(c *gin.Context) {
	if err := queryOnly(c); err != nil {
		s.fail(c, err)
		return
	}
	faults := s.control.faults()
	c.Header("ETag", revision(faults))
	c.JSON(http.StatusOK, api.FaultSet{Faults: fault.WireSet(faults)})
}

func (s *server) getFault(c *gin.Context) {
	if err := queryOnly(c); err != nil {
		s.fail(c, err)
		return
	}
	faults := s.control.faults()
	f := find(faults, c.Param("name"))
	if f == nil {
		s.fail(c, fmt.Errorf("%w: %.80q", errNoFault, c.Param("name")))
		return
	}
	c.Header("ETag", revision(faults))
	c.JSON(http.StatusOK, f.Wire())
}

// putFaults replaces the whole set.
func (s *server) putFaults(c *gin.Context) {
	options, err := changeOptions(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	var body api.FaultSet
	if err := readBody(c, &body); err != nil {
		s.fail(c, err)
		return
	}
	if body.Faults == nil {
		// An empty object is more likely a mistake than the wish to end everything.
		s.fail(c, fault.Invalid{{Field: "faults", Accepted: "want a list of faults, [] for none"}})
		return
	}
	faults, err := fault.ParseSet(body.Faults, s.limits())
	if err != nil {
		s.fail(c, err)
		return
	}
	s.changeFaults(c, replaceAll(faults), options)
}

// putFault adds or replaces one fault.
func (s *server) putFault(c *gin.Context) {
	options, err := changeOptions(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	var body api.Fault
	if err := readBody(c, &body); err != nil {
		s.fail(c, err)
		return
	}
	name := c.Param("name")
	if body.Name != "" && body.Name != name {
		s.fail(c, fault.Invalid{{Field: "name", Value: body.Name, Accepted: fmt.Sprintf("want the name of the path, %.80q, or none", name)}})
		return
	}
	body.Name = name
	f, err := fault.Parse(body, s.limits())
	if err != nil {
		s.fail(c, err)
		return
	}
	s.changeFaults(c, replaceOne(f), options)
}

func (s *server) deleteFault(c *gin.Context) {
	options, err := changeOptions(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.changeFaults(c, removeOne(c.Param("name"), true), options)
}

func (s *server) changeFaults(c *gin.Context, e edit, options options) {
	made, verified, err := s.verifiedChange(c, request{edit: e, match: options.match, dryRun: options.dryRun}, options)
	if err != nil {
		s.fail(c, err)
		return
	}
	if !options.dryRun {
		c.Header("ETag", revision(made.after))
	}
	answer := api.Changes{
		Applied:  !options.dryRun,
		Engine:   s.choice.name,
		Devices:  deviceNames(s.devices),
		Changes:  []api.Change{},
		Faults:   fault.WireSet(made.after),
		TC:       append([]string{}, netem.Commands(deviceNames(s.devices), s.exempt, s.queueMemory, made.after)...),
		Verified: verified,
	}
	for _, step := range steps(made.before, made.after) {
		meaning := "its packets pass as if it had not been there"
		if step.fault != nil {
			meaning = explain(*step.fault, deviceNames(s.devices)) + caveat(s.choice.name, *step.fault)
		}
		answer.Changes = append(answer.Changes, api.Change{Name: step.name, Action: step.action, Meaning: meaning})
	}
	c.JSON(http.StatusOK, answer)
}

// readBody reads a JSON body whole.
func readBody(c *gin.Context, into any) error {
	content, err := io.ReadAll(c.Request.Body)
	if err != nil {
		return fmt.Errorf("read the request's body: %w", err)
	}
	return fault.Decode(content, into)
}
