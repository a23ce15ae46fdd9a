package httpapi

import (
	"errors"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/control"
	"github.com/tidelay/tidelay/pkg/agent/explain"
	"github.com/tidelay/tidelay/pkg/fault"
)

func (s *Server) getReadyz(c *gin.Context) {
	engine := s.Engine()
	if engine.Name == api.EngineNone {
		c.Set(keyReason, reasonNoEngine)
		c.String(http.StatusServiceUnavailable, "not ready: %s\n", engine.Reason)
		return
	}
	if err := s.Control.Unknown(); err != nil {
		c.Set(keyReason, reasonUnknown)
		c.String(http.StatusServiceUnavailable, "not ready: %v\n", err)
		return
	}
	if !s.hasDevice() {
		c.Set(keyReason, reasonNoEngine)
		c.String(http.StatusServiceUnavailable, "not ready: no interface to act on; see %s\n", api.PathStatus)
		return
	}
	c.String(http.StatusOK, "ok: engine %s: %s\n", engine.Name, engine.Reason)
}

// hasDevice reports whether any interface is there that faults act on.
func (s *Server) hasDevice() bool {
	devices, _ := s.Devices()
	return slices.ContainsFunc(devices, func(d api.Device) bool { return !d.Missing })
}

func (s *Server) getStatus(c *gin.Context) {
	if err := queryOnly(c); err != nil {
		s.fail(c, err)
		return
	}
	now, err := s.Control.Read()
	noEngine := errors.Is(err, control.ErrNoEngine)
	if err != nil && !noEngine {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, s.status(now, noEngine))
}

// status describes a snapshot, of which without an engine nothing was read from the
// kernel.
func (s *Server) status(now control.Snapshot, noEngine bool) api.Status {
	devices, err := s.Devices()
	engine := s.Engine()
	status := api.Status{
		Engine:       engine.Name,
		Reason:       engine.Reason,
		Capabilities: engine.Capabilities,
		Devices:      append([]api.Device{}, devices...),
		Faults:       make([]api.FaultStatus, 0, len(now.Desired.Wire)),
		Exempt:       explain.Exemptions(s.Exempt()),
		Warnings:     append(explain.Warnings(now.Warning, now.Desired.Faults, now.Found, noEngine), now.Limits...),
		Version:      s.Version,
	}
	status.Warnings = append(status.Warnings, s.Warnings()...)
	if now.Unknown != nil {
		status.Warnings = append(status.Warnings, now.Unknown.Error())
	}
	if now.Unended {
		status.Warnings = append(status.Warnings, explain.Unended)
	}
	if now.Overdue != nil {
		status.Warnings = append(status.Warnings, explain.Overdue(now.Overdue))
	}
	if u := now.Unsaved; u != nil {
		status.Warnings = append(status.Warnings, explain.Unsaved(u.Err, u.Ended))
	}
	if err != nil {
		status.Warnings = append(status.Warnings, err.Error())
	}
	for _, f := range now.Desired.Wire {
		instances, found := now.Found.Found[f.Name]
		status.Faults = append(status.Faults, api.FaultStatus{Fault: f, Held: found, Counters: fault.Total(instances)})
	}
	return status
}
