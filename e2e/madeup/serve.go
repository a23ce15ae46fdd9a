package madeup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// ServeHTTP answers a request as the agent, whichever way it came.
func (a *Agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	answer := a.do(r, body)
	switch {
	case answer.drop:
		panic(http.ErrAbortHandler)
	case answer.hang:
		<-r.Context().Done()
		return
	}
	w.Header().Set("Server", api.ServerName)
	contentType := "application/json"
	if _, ok := answer.body.(api.Problem); ok {
		contentType = api.ContentTypeProblem
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(answer.status)
	_ = json.NewEncoder(w).Encode(answer.body) // the client may be gone
}

// answer is what a request comes to.
type answer struct {
	drop, hang bool
	status     int
	body       any
}

// do does what a request asks for.
func (a *Agent) do(r *http.Request, body []byte) answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case r.URL.Path == api.PathMeasure, r.URL.Path == api.PathStatus:
		a.counts.Measurements++
	case r.Method != http.MethodGet:
		a.counts.Changes++
	default:
		a.counts.Others++
	}
	if a.way.Drop {
		return answer{drop: true}
	}
	if r.URL.Path == api.PathReadyz {
		return answer{status: http.StatusOK, body: "ok: made up"}
	}
	if p := a.guard(r.Header); p != nil {
		return refuse(*p)
	}
	switch r.Method + " " + r.URL.Path {
	case "GET " + api.PathFaults:
		return answer{status: http.StatusOK, body: api.FaultSet{Faults: fault.WireSet(a.alive(time.Now()))}}
	case "PUT " + api.PathFaults:
		return a.put(r.URL.Query().Get("owner"), body)
	case "DELETE " + api.PathFaults:
		return a.put("", []byte(`{"faults":[]}`))
	case "GET " + api.PathStatus:
		return a.status()
	case "POST " + api.PathMeasure:
		return a.measure(body)
	default:
		return refuse(Problem(http.StatusNotFound, "the made-up agent has no such route"))
	}
}

// guard refuses a request without the token, or for another pod.
func (a *Agent) guard(header http.Header) *api.Problem {
	if a.way.Token != "" && header.Get(api.HeaderToken) != a.way.Token {
		p := Problem(http.StatusUnauthorized, "unauthorized: want the agent's token")
		return &p
	}
	if uid := header.Get(api.HeaderPod); uid != "" && uid != a.podUID {
		p := Problem(http.StatusMisdirectedRequest, fmt.Sprintf("this is another pod: the request is for %s, and this is %s", uid, a.podUID))
		return &p
	}
	return nil
}

// put replaces faults.
func (a *Agent) put(owner string, body []byte) answer {
	var asked api.FaultSet
	if err := json.Unmarshal(body, &asked); err != nil || asked.Faults == nil {
		return refuse(Problem(http.StatusBadRequest, "want a list of faults, [] for none"))
	}
	if len(asked.Faults) == 0 {
		a.counts.Empty++
	} else if a.way.Refuse != nil {
		return refuse(*a.way.Refuse)
	}
	now := time.Now()
	changes, err := a.replace(owner, asked.Faults, now)
	if err != nil {
		return refuse(problemOf(err))
	}
	if a.way.Hang {
		return answer{hang: true}
	}
	result := api.Changes{
		Applied: true, Engine: api.EngineNetem, Devices: []string{"eth0"}, Changes: changes, Faults: fault.WireSet(a.faults), TC: []string{}, Warnings: []string{},
	}
	if a.way.Lie {
		result.Faults = []api.Fault{}
	}
	return answer{status: http.StatusOK, body: result}
}

// otherOwner refuses a fault whose name somebody else has taken.
func otherOwner(f fault.Fault) error { return fmt.Errorf("fault %q %w", f.Name, fault.ErrOtherOwner) }

// problemOf returns what the agent answers to faults that it does not take.
func problemOf(err error) api.Problem {
	invalid, isInvalid := errors.AsType[fault.Invalid](err)
	if isInvalid {
		return Problem(http.StatusBadRequest, err.Error(), invalid...)
	}
	return Problem(http.StatusConflict, err.Error())
}

// Problem returns what an agent answers with a status, in its words, about fields such as
// "faults[0].loss".
func Problem(status int, detail string, fields ...api.FieldError) api.Problem {
	return api.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Errors: fields}
}

func refuse(p api.Problem) answer { return answer{status: p.Status, body: p} }
