package httpapi

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/agent/explain"
	"github.com/tidelay/tidelay/pkg/fault"
)

func (s *Server) getFaults(c *gin.Context) {
	if err := queryOnly(c); err != nil {
		s.fail(c, err)
		return
	}
	if err := s.Control.Unknown(); err != nil {
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
	if err := s.Control.Unknown(); err != nil {
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

// putFaults replaces all faults, or those of one owner.
func (s *Server) putFaults(c *gin.Context) {
	options, err := readChangeOptions(c, "owner")
	if err != nil {
		s.fail(c, err)
		return
	}
	owner := c.Query("owner")
	if owner != "" && !fault.IsName(owner) {
		s.fail(c, queryError("owner", owner, fault.NameAccepted))
		return
	}
	var body api.FaultSet
	if err := decodeBody(c, &body); err != nil {
		s.fail(c, err)
		return
	}
	if body.Faults == nil {
		// An empty object is more likely a mistake than a request to remove all faults.
		s.fail(c, fault.Invalid{{Field: "faults", Accepted: "want a list of faults, [] for none"}})
		return
	}
	if err := setOwner(body.Faults, owner); err != nil {
		s.fail(c, err)
		return
	}
	faults, err := fault.ParseSet(body.Faults, s.limits())
	if err != nil {
		s.fail(c, err)
		return
	}
	edit := control.ReplaceAll(faults)
	if owner != "" {
		edit = control.ReplaceOwned(owner, faults)
	}
	s.changeFaults(c, change{edit, owner, fault.Names(faults)}, options)
}

// setOwner gives faults the owner of a request. It refuses those of another one.
// Without an owner it leaves the faults as they are.
func setOwner(faults []api.Fault, owner string) error {
	if owner == "" {
		return nil
	}
	var others fault.Invalid
	for i := range faults {
		if other := faults[i].Owner; other != "" && other != owner {
			others = append(others, api.FieldError{Field: fmt.Sprintf("faults[%d].owner", i), Value: api.Shorten(other), Accepted: fmt.Sprintf("want %q, the owner of the query, or none", owner)})
		}
		faults[i].Owner = owner
	}
	if len(others) > 0 {
		return fmt.Errorf("%w: a fault %w", others, fault.ErrOtherOwner)
	}
	return nil
}

// putFault adds or replaces one fault.
func (s *Server) putFault(c *gin.Context) {
	options, err := readChangeOptions(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	var body api.Fault
	if err := decodeBody(c, &body); err != nil {
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
	s.changeFaults(c, change{control.ReplaceOne(f), f.Owner, []string{f.Name}}, options)
}

func (s *Server) deleteFault(c *gin.Context) {
	options, err := readChangeOptions(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.changeFaults(c, change{edit: control.RemoveOne(c.Param("name"), true)}, options)
}

// deleteFaults ends all faults, whoever set them.
func (s *Server) deleteFaults(c *gin.Context) {
	options, err := readChangeOptions(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.changeFaults(c, change{edit: control.RemoveAll()}, options)
}

// changeFaults makes a change and answers with what it did to each fault.
func (s *Server) changeFaults(c *gin.Context, ch change, o changeOptions) {
	outcome, verified, err := s.change(c, ch.edit, o)
	if err != nil {
		s.fail(c, err)
		return
	}
	if !o.dryRun {
		c.Header("ETag", outcome.After.Revision)
	}
	answer := api.Changes{
		Applied:  !o.dryRun,
		Engine:   s.Engine().Name,
		Devices:  s.deviceNames(),
		Changes:  make([]api.Change, 0, len(outcome.Differences)),
		Faults:   outcome.After.Wire,
		TC:       append([]string{}, s.TC.Commands(outcome.After.Faults)...),
		Warnings: ch.warnings(outcome),
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

// change is what a request does to the set.
type change struct {
	edit  control.Edit
	owner string   // for whom it is made; empty for a person
	sets  []string // the names of the faults that it sets
}

// warnings says what whoever asked for a change should know of its outcome. It is
// never nil.
func (ch change) warnings(o control.Outcome) []string {
	all := append(explain.Overlaps(o.After.Faults, ch.sets...), explain.PutBack(o.Before.Faults, o.After.Faults, ch.owner)...)
	return append(all, o.Limits...)
}
