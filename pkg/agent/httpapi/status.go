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
	if s.Engine == api.EngineNone {
		c.Set(keyReason, reasonNoEngine)
		c.String(http.StatusServiceUnavailable, "not ready: %s\n", s.EngineReason)
		return
	}
	if !s.hasDevice() {
		c.Set(keyReason, reasonNoEngine)
		c.String(http.StatusServiceUnavailable, "not ready: no interface to act on; see %s\n", api.PathStatus)
		return
	}
	c.String(http.StatusOK, "ok: engine %s: %s\n", s.Engine, s.EngineReason)
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
	if err != nil && !errors.Is(err, control.ErrNoEngine) {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, s.status(now))
}

func (s *Server) status(now control.Snapshot) api.Status {
	devices, err := s.Devices()
	status := api.Status{
		Engine:       s.Engine,
		Reason:       s.EngineReason,
		Capabilities: s.Capabilities,
		Devices:      append([]api.Device{}, devices...),
		Faults:       make([]api.FaultStatus, 0, len(now.Desired.Wire)),
		Exempt:       explain.Exemptions(s.Exempt()),
		Warnings:     append(explain.Warnings(now.Warning, now.Desired.Faults, now.Found), now.Limits...),
		Version:      s.Version,
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
