package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// passOn bounds how long one PD waits for another.
const passOn = 2 * time.Second

// maxRoles is how many bytes of roles are read.
const maxRoles = 1 << 20

// getRoles says what was set here.
func (p *pd) getRoles(w http.ResponseWriter, _ *http.Request) {
	now, err := p.roles.get()
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, now)
}

// putRoles sets all roles here. It is not passed on: between the PDs there may be a
// fault, so a test sets the same at each of them.
func (p *pd) putRoles(w http.ResponseWriter, r *http.Request) {
	var next roles
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRoles))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&next); err != nil {
		http.Error(w, fmt.Sprintf(`roles: %v: want {"leader":"MEMBER","leaders":{"POD":COUNT}}`, err), http.StatusBadRequest)
		return
	}
	p.change(w, func(now *roles) { *now = next })
}

// putLeader sets the leader of PD here.
func (p *pd) putLeader(w http.ResponseWriter, r *http.Request) {
	p.change(w, func(now *roles) { now.Leader = r.PathValue("name") })
}

// change changes the roles, and answers with what they are then.
func (p *pd) change(w http.ResponseWriter, with func(*roles)) {
	if err := p.roles.change(with); err != nil {
		writeError(w, err)
		return
	}
	now, err := p.roles.get()
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, now)
}

// transferLeader makes a member the leader at every PD. TiDB Operator asks one PD for it
// before it restarts the leader's pod, and asks again when that fails.
func (p *pd) transferLeader(w http.ResponseWriter, r *http.Request) {
	ctx, name := r.Context(), r.PathValue("name")
	members, err := p.members(ctx)
	if err != nil {
		writeError(w, err)
		return
	}
	told := make(chan error, len(members))
	for _, m := range members {
		go func() { told <- p.tellLeader(ctx, m, name) }()
	}
	for range members {
		err = errors.Join(err, <-told)
	}
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, "ok")
}

// tellLeader tells one PD who leads.
func (p *pd) tellLeader(ctx context.Context, m member, name string) error {
	ctx, cancel := context.WithTimeout(ctx, passOn)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, m.ClientURLs[0]+"/standin/leader/"+url.PathEscape(name), nil)
	if err != nil {
		return fmt.Errorf("tell %s its leader: %w", m.Name, err)
	}
	answer, err := p.client.Do(r)
	if err != nil {
		return fmt.Errorf("tell %s its leader: %w", m.Name, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("tell %s its leader: status %s", m.Name, answer.Status)
	}
	return nil
}
