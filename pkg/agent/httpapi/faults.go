package httpapi

import (
	"fmt"
	"io"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/fault"
)

func (s *Server) getFaults(c *gin.Context) {
	if err := queryOnly(c); err != nil {
		s.fail(c, err)
		return
	}
	desired := s.Control.Desired()
	c.Header("ETag", desired.Revision)
	c.JSON(http.StatusOK, api.FaultSet{Faults: desired.Wire})
}

func (s *Server) getFault(c *gin.Context) {
	if err := queryOnly(c); err != nil {
		s.fail(c, err)
		return
	}
	desired := s.Control.Desired()
	f := fault.Find(desired.Faults, c.Param("name"))
	if f == nil {
		s.fail(c, fmt.Errorf("%w: %.80q", control.ErrNoFault, c.Param("name")))
		return
	}
	c.Header("ETag", desired.Revision)
	c.JSON(http.StatusOK, f.Wire())
}

// putFaults replaces all faults.
func (s *Server) putFaults(c *gin.Context) {
	options, err := readChangeOptions(c)
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
		// An empty object is more likely a mistake than a request to remove all faults.
		s.fail(c, fault.Invalid{{Field: "faults", Accepted: "want a list of faults, [] for none"}})
		return
	}
	faults, err := fault.ParseSet(body.Faults, s.limits())
	if err != nil {
		s.fail(c, err)
		return
	}
	s.changeFaults(c, control.ReplaceAll(faults), options)
}

// putFault adds or replaces one fault.
func (s *Server) putFault(c *gin.Context) {
	options, err := readChangeOptions(c)
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
	s.changeFaults(c, control.ReplaceOne(f), options)
}

func (s *Server) deleteFault(c *gin.Context) {
	options, err := readChangeOptions(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.changeFaults(c, control.RemoveOne(c.Param("name"), true), options)
}

// changeFaults makes a change and answers with what it did to each fault.
func (s *Server) changeFaults(c *gin.Context, edit control.Edit, o changeOptions) {
	outcome, verified, err := s.change(c, edit, o)
	if err != nil {
		s.fail(c, err)
		return
	}
	if !o.dryRun {
		c.Header("ETag", outcome.After.Revision)
	}
	answer := api.Changes{
		Applied:  !o.dryRun,
		Engine:   s.Engine,
		Devices:  s.deviceNames(),
		Changes:  make([]api.Change, 0, len(outcome.Differences)),
		Faults:   outcome.After.Wire,
		TC:       append([]string{}, s.TC.Commands(outcome.After.Faults)...),
		Verified: verified,
	}
	for _, d := range outcome.Differences {
		meaning := "its packets pass as if it had not been there"
		if d.Fault != nil {
			meaning = s.meaning(*d.Fault)
		}
		answer.Changes = append(answer.Changes, api.Change{Name: d.Name, Action: d.Action, Meaning: meaning})
	}
	c.JSON(http.StatusOK, answer)
}

// readBody reads a JSON body.
func readBody(c *gin.Context, into any) error {
	content, err := io.ReadAll(c.Request.Body)
	if err != nil {
		return fmt.Errorf("read the request's body: %w", err)
	}
	return fault.Decode(content, into)
}
