package main

import (
	"net/http"
	"strings"
	"sync"
)

// A capture is one TiCDC. Who owns is what a test has set at this capture, and before
// that the first of them.
type capture struct {
	pod   string // basic-ticdc-1
	mu    sync.Mutex
	owner string
}

// newCapture makes the capture of a pod of a StatefulSet.
func newCapture(pod string) *capture {
	return &capture{pod: pod, owner: pod[:strings.LastIndexByte(pod, '-')+1] + "0"}
}

func (c *capture) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", c.getStatus)
	mux.HandleFunc("PUT /standin/owner/{name}", c.putOwner)
	return mux
}

// getStatus answers what TiDB Operator reads into the TidbCluster's status. It asks for no
// more: that nothing is at /api/v1/captures tells it that this TiCDC can't hand over.
func (c *capture) getStatus(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	writeJSON(w, map[string]any{"id": c.pod, "version": "v8.1.0-standin", "is_owner": c.pod == c.owner})
}

// putOwner sets the owner here. Like the roles at a PD it is not passed on.
func (c *capture) putOwner(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.owner = r.PathValue("name")
	c.mu.Unlock()
	c.getStatus(w, r)
}
