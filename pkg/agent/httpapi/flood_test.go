package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/enginetest"
)

// serveForReal serves with Serve, with its bounds and time-outs.
func serveForReal(t *testing.T) string {
	t.Helper()
	s := newTestServer(t, &enginetest.Engine{})
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	stopped := make(chan error, 1)
	go func() { stopped <- s.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

func dial(t *testing.T, address, send string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(conn, send) // the agent may have closed it
	return conn
}

func status(t *testing.T, conn net.Conn) int {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

const stalled = "PUT /v1/faults HTTP/1.1\r\nHost: agent\r\nContent-Length: 255000\r\n\r\n{"

// However many clients only hold what they have, others are served, and at once.
func TestWhoWaitsKeepsNobodyOut(t *testing.T) {
	for what, send := range map[string]string{
		"idle":           "",
		"slow headers":   "GET /latency HTTP/1.1\r\nHost:",
		"stalled bodies": stalled,
		"slow readers":   strings.Repeat("GET /openapi.json HTTP/1.1\r\nHost: agent\r\n\r\n", 20),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			address := serveForReal(t)
			for range 300 {
				dial(t, address, send)
			}
			begin := time.Now()
			for _, line := range []string{"GET /healthz", "PUT /v1/faults", "DELETE /v1/faults", "GET /latency/0"} {
				body := ""
				if strings.HasPrefix(line, "PUT") {
					body = `{"faults":[]}`
				}
				conn := dial(t, address, fmt.Sprintf("%s HTTP/1.1\r\nHost: agent\r\nContent-Length: %d\r\n\r\n%s", line, len(body), body))
				if got := status(t, conn); got != http.StatusOK && (got != http.StatusTooManyRequests || what != "slow readers" || strings.HasPrefix(line, "DELETE")) {
					t.Errorf("%s: status %d", line, got)
				}
			}
			if took := time.Since(begin); took > 4*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestASlowBodyIsTold(t *testing.T) {
	t.Parallel()
	if got := status(t, dial(t, serveForReal(t), stalled)); got != http.StatusRequestTimeout {
		t.Errorf("status %d", got)
	}
}

// A body that ends early is the client's doing.
func TestABodyThatEndsEarly(t *testing.T) {
	t.Parallel()
	conn := dial(t, serveForReal(t), stalled)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := status(t, conn); got != http.StatusBadRequest {
		t.Errorf("status %d", got)
	}
}

// The body of a route that reads none is not waited for.
func TestABodyThatNobodyReads(t *testing.T) {
	t.Parallel()
	address := serveForReal(t)
	begin := time.Now()
	if got := status(t, dial(t, address, strings.Replace(stalled, "PUT", "DELETE", 1))); got != http.StatusOK {
		t.Errorf("status %d", got)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
}

// More requests than can be worked on at once are all answered, as a whole.
func TestManyAtOnceAreAllAnswered(t *testing.T) {
	address := serveForReal(t)
	const body = `{"faults":[{"name":"a","delay":"1ms"}]}`
	var group sync.WaitGroup
	for range 60 {
		group.Go(func() {
			conn := dial(t, address, fmt.Sprintf("PUT /v1/faults HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Error(err)
				return
			}
			answer, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != http.StatusOK || !json.Valid(answer) {
				t.Errorf("status %d, %v: %s", response.StatusCode, err, answer)
			}
			_ = response.Body.Close()
		})
	}
	group.Wait()
}
