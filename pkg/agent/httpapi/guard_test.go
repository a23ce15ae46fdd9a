package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/agent/httpapi"
)

func TestTheTokenGuardsEverythingButHealth(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(content string) {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newTestServer(t, &enginetest.Engine{}, func(c *httpapi.Config) { c.TokenFile = file })
	// The header is Authorization, or after an X the agent's own.
	for _, c := range []struct {
		what, token, header string
		want                int
	}{
		{"no file", "", "", 401},
		{"an empty file", "\n", "Bearer ", 401},
		{"no header", "secret\n", "", 401},
		{"the wrong token", "secret\n", "Bearer public", 401},
		{"a part of it", "secret\n", "Bearer secre", 401},
		{"another scheme", "secret\n", "Basic secret", 401},
		{"the token", "secret\n", "Bearer secret", 200},
		{"a scheme in lower case", "secret", "bearer secret", 200},
		{"the token in its own header", "secret", "X secret", 200},
		{"the wrong token in its own header", "secret", "X public", 401},
		{"an empty token in its own header", "secret", "X ", 401},
		{"a token that is none in its own header", "secret", "X Bearer secret", 401},
		{"the old token", "rotated", "Bearer secret", 401},
		{"the new token", "rotated", "Bearer rotated", 200},
	} {
		if c.token != "" {
			write(c.token)
		}
		for _, path := range []string{"/latency", "/latency/20ms", "/v1/status", "/v1/faults", "/metrics", "/openapi.json"} {
			response := s.do("GET", path, "", tokenHeader(c.header)...)
			if response.StatusCode != c.want || c.want == 401 && response.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s: %s: status %d, want %d", c.what, path, response.StatusCode, c.want)
			}
		}
		if response := s.do("GET", "/nowhere", "", tokenHeader(c.header)...); c.want == 401 && response.StatusCode != 401 {
			t.Errorf("%s: a route that is not there: status %d", c.what, response.StatusCode)
		}
		for _, path := range []string{"/healthz", "/readyz"} {
			if response := s.get(path); response.StatusCode != http.StatusOK {
				t.Errorf("%s: %s: status %d", c.what, path, response.StatusCode)
			}
		}
	}
}

func tokenHeader(header string) []string {
	if token, own := strings.CutPrefix(header, "X "); own {
		return []string{api.HeaderToken, token}
	}
	return []string{"Authorization", header}
}

// The API server's pod proxy has a use of its own for Authorization.
func TestTheOwnHeaderCountsBesideAuthorization(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newTestServer(t, &enginetest.Engine{}, func(c *httpapi.Config) { c.TokenFile = file })
	for own, want := range map[string]int{"secret": 200, "public": 401} {
		if response := s.do("GET", "/v1/status", "", "Authorization", "Bearer of somebody else", api.HeaderToken, own); response.StatusCode != want {
			t.Errorf("%s: status %d, want %d", own, response.StatusCode, want)
		}
	}
}

func TestReadOnly(t *testing.T) {
	e := &enginetest.Engine{}
	s := newTestServer(t, e, func(c *httpapi.Config) { c.ReadOnly = true })
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/latency/20ms", "", 403},
		{"GET", "/latency/", "", 403},
		{"GET", "/latency/20ms?dryRun=true", "", 403},
		{"DELETE", "/latency", "", 403},
		{"PUT", "/v1/faults", `{"faults":[]}`, 403},
		{"PUT", "/v1/faults/a", `{"delay":"1ms"}`, 403},
		{"DELETE", "/v1/faults/a", "", 403},
		{"GET", "/latency", "", 200},
		{"GET", "/v1/faults", "", 200},
		{"GET", "/v1/status", "", 200},
		{"POST", "/v1/measure", `{"targets":["127.0.0.1"]}`, 200},
	} {
		if response := s.do(c.method, c.path, c.body); response.StatusCode != c.want {
			t.Errorf("%s %s: status %d, want %d", c.method, c.path, response.StatusCode, c.want)
		}
	}
	if e.Get().Applied != 0 {
		t.Errorf("applied %d times", e.Get().Applied)
	}
}

func TestRequestsAreLimited(t *testing.T) {
	s := newTestServer(t, &enginetest.Engine{})
	s.SetRequestBurst(3)
	refused := 0
	for range 10 {
		if response := s.get("/latency"); response.StatusCode == http.StatusTooManyRequests && response.Header.Get("Retry-After") != "" {
			refused++
		}
	}
	if refused == 0 {
		t.Error("ten requests at once with a burst of three: none refused")
	}
	if response := s.get("/healthz"); response.StatusCode != http.StatusOK {
		t.Errorf("health: status %d", response.StatusCode)
	}
}

// An address that guesses is slowed, even when it guesses right; that costs no
// one else, and neither health.
func TestGuessesAreSlowed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newTestServer(t, &enginetest.Engine{}, func(c *httpapi.Config) { c.TokenFile = file })
	from := func(address, header string) int {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/faults", nil)
		request.RemoteAddr = address
		request.Header.Set("Authorization", header)
		answer := httptest.NewRecorder()
		s.handler.ServeHTTP(answer, request)
		return answer.Code
	}
	const guesser, user = "10.0.0.66:1", "10.0.0.1:1"
	for range 100 {
		from(guesser, "") // no token is no guess
	}
	if got := from(guesser, "Bearer secret"); got != http.StatusOK {
		t.Errorf("a right token before guesses: status %d", got)
	}
	answers := map[int]int{}
	for range 200 {
		answers[from(guesser, "Bearer guess")]++
	}
	if answers[http.StatusUnauthorized] == 0 || answers[http.StatusTooManyRequests] < 100 || len(answers) != 2 {
		t.Errorf("200 guesses: answers %v", answers)
	}
	if got := from(guesser, "Bearer secret"); got != http.StatusTooManyRequests {
		t.Errorf("a right guess among many: status %d", got)
	}
	if got := from(user, "Bearer secret"); got != http.StatusOK {
		t.Errorf("another address: status %d", got)
	}
	if response := s.get("/healthz"); response.StatusCode != http.StatusOK {
		t.Errorf("health: status %d", response.StatusCode)
	}
}

// Reading too much does not keep anybody from ending faults.
func TestEndingHasALimitOfItsOwn(t *testing.T) {
	s := newTestServer(t, &enginetest.Engine{})
	s.SetRequestBurst(3)
	for range 10 {
		s.get("/latency")
	}
	if response := s.do("DELETE", "/v1/faults", ""); response.StatusCode != http.StatusOK {
		t.Errorf("DELETE: status %d", response.StatusCode)
	}
	for _, path := range []string{"/latency/0", "/latency/0ms"} {
		if response := s.get(path); response.StatusCode != http.StatusOK {
			t.Errorf("GET %s: status %d", path, response.StatusCode)
		}
	}
}
