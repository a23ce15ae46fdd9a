package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
)

// sent is a request as it came over the wire.
type sent struct{ Line, Body, IfMatch, Authorization, Token, Pod, ContentType string }

// serve answers every request with one answer, and returns a client of it and
// what the last request was.
func serve(t *testing.T, o client.Options, answer http.HandlerFunc) (*client.Client, *sent) {
	t.Helper()
	last := &sent{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*last = sent{r.Method + " " + r.RequestURI, string(body), r.Header.Get("If-Match"), r.Header.Get("Authorization"), r.Header.Get(api.HeaderToken), r.Header.Get(api.HeaderPod), r.Header.Get("Content-Type")}
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	c, err := client.New(server.URL, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c, last
}

func write(t *testing.T, w http.ResponseWriter, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Error(err)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	for length, ok := range map[int]bool{client.MaxAnswer: true, client.MaxAnswer + 1: false} {
		agent, _ := serve(t, client.Options{}, func(w http.ResponseWriter, _ *http.Request) { write(t, w, strings.Repeat(" ", length)) })
		if got, err := agent.Metrics(t.Context()); (err == nil) != ok || ok && len(got) != length {
			t.Errorf("an answer of %d bytes: %d bytes, error %v", length, len(got), err)
		}
	}
}

func TestAnAnswerThatIsNoJSONIsAnError(t *testing.T) {
	agent, _ := serve(t, client.Options{}, func(w http.ResponseWriter, _ *http.Request) { write(t, w, "<html>") })
	if _, err := agent.Latency(t.Context()); err == nil || !strings.Contains(err.Error(), "GET /latency: decode answer") {
		t.Errorf("error %v", err)
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	asked := make(chan struct{})
	agent, _ := serve(t, client.Options{}, func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := agent.Faults(ctx); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "http://") {
		t.Errorf("error %v, want that of the context without the URL", err)
	}
}

func TestDialContextMakesTheConnections(t *testing.T) {
	var dialed string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { write(t, w, "ok\n") }))
	t.Cleanup(server.Close)
	agent, err := client.New(client.URL("fd00::5"), client.Options{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		dialed = address
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(agent.CloseIdleConnections)
	if err := agent.Health(t.Context()); err != nil || dialed != netip.MustParseAddrPort("[fd00::5]:2332").String() {
		t.Errorf("dialed %q, %v", dialed, err)
	}
}

// roundTripper is a transport made of a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

// The path of the base URL leads to the agent, as that of the API server's pod
// proxy does.
func TestTransportSendsTheRequests(t *testing.T) {
	var asked string
	agent, err := client.New("https://api/api/v1/namespaces/n/pods/p:2332/proxy/", client.Options{
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			asked = r.URL.String()
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(`{}`))}, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = agent.SetLatency(t.Context(), client.Delay{Delay: "20ms"})
	if want := "https://api/api/v1/namespaces/n/pods/p:2332/proxy/latency/20ms"; err != nil || asked != want {
		t.Errorf("asked %s, want %s; %v", asked, want, err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, base := range []string{"", "10.0.0.5:2332", "fd00::5", "ftp://10.0.0.5", "http://", "http://10.0.0.5?a=b", "http://10.0.0.5#a", "http://user@10.0.0.5", "http://10.0.0.5:x"} {
		if c, err := client.New(base, client.Options{}); err == nil {
			t.Errorf("New(%q) = %v, want an error", base, c)
		}
	}
	dialer := &net.Dialer{}
	if c, err := client.New("http://10.0.0.5", client.Options{Transport: http.DefaultTransport, DialContext: dialer.DialContext}); err == nil {
		t.Errorf("New with both hooks = %v, want an error", c)
	}
	for _, uid := range []string{" ", "a b", "a,b", "a\r\nX-Other: b", strings.Repeat("a", 65)} {
		if c, err := client.New("http://10.0.0.5", client.Options{PodUID: uid}); err == nil || !strings.Contains(err.Error(), "PodUID") {
			t.Errorf("New with the pod's UID %q = %v, %v, want an error", uid, c, err)
		}
	}
}

// Such a name would make the path that of another route.
func TestNamesThatAreNoneAreNotSent(t *testing.T) {
	agent, last := serve(t, client.Options{}, func(w http.ResponseWriter, _ *http.Request) { write(t, w, "{}") })
	for _, name := range []string{"", ".", ".."} {
		_, read := agent.Fault(t.Context(), name)
		_, set := agent.SetFault(t.Context(), api.Fault{Name: name})
		_, deleted := agent.DeleteFault(t.Context(), name)
		_, owner := agent.ReplaceOwned(t.Context(), "", nil)
		if read == nil || set == nil || deleted == nil || owner == nil || last.Line != "" {
			t.Errorf("name %q: %v, %v, %v, sent %s", name, read, set, deleted, last.Line)
		}
	}
}
