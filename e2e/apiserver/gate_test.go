//go:build apiserver

package apiserver

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
)

// gate is a way to the API server that can be shut: by holding requests for
// all requests, by holding watches for what the informers hear, who then fall
// behind while reads still pass. What is held back waits and is not lost. Or requests
// are dropped, as when the API server is away.
type gate struct {
	kubeconfig        string       // of the program's account, through the gate
	requests, watches sync.RWMutex // held for reading to pass, for writing while shut
	away              atomic.Bool  // whether requests are dropped
	allowed           atomic.Int64 // how many pass before that
	dropped           atomic.Int64
	proxy             *httputil.ReverseProxy
}

// newGate opens a gate for a program, by the name of its Deployment. It lasts as long
// as the test.
func newGate(t *testing.T, program string) *gate {
	t.Helper()
	target, err := url.Parse(world.config.Host)
	must(t, err)
	// The client's own token identifies it; the gate has no rights.
	transport, err := rest.TransportFor(rest.AnonymousClientConfig(world.config))
	must(t, err)
	g := &gate{}
	g.proxy = &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:      transport,
		FlushInterval:  -1,
		ModifyResponse: g.holdWatch,
	}
	server := httptest.NewTLSServer(g)
	t.Cleanup(server.CloseClientConnections)
	g.kubeconfig, err = world.serviceAccountKubeconfig(t.Context(), program, server.URL, certificatePEM(server))
	must(t, err)
	return g
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.away.Load() && g.allowed.Add(-1) < 0 {
		g.dropped.Add(1)
		panic(http.ErrAbortHandler) // closes the connection
	}
	wait(&g.requests)
	g.proxy.ServeHTTP(w, r)
}

func (g *gate) holdWatch(response *http.Response) error {
	if response.Request.URL.Query().Get("watch") == "true" {
		response.Body = &heldBody{response.Body, g}
	}
	return nil
}

// heldBody is a watch whose events stop at the gate.
type heldBody struct {
	io.ReadCloser
	gate *gate
}

func (b *heldBody) Read(p []byte) (int, error) {
	count, err := b.ReadCloser.Read(p)
	wait(&b.gate.watches)
	wait(&b.gate.requests)
	return count, err
}

func wait(mu *sync.RWMutex) {
	mu.RLock()
	defer mu.RUnlock()
}

// behind starts a replica that serves in place of world.injector and whose
// caches, from now on, do not change.
func behind(t *testing.T) {
	t.Helper()
	g := newGate(t, injectorName)
	lend(t, newReplica(t, "--kubeconfig="+g.kubeconfig))
	g.watches.Lock()
	t.Cleanup(g.watches.Unlock)
}

// certificatePEM is what a client must trust to talk to the server.
func certificatePEM(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}
