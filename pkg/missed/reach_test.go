package missed

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/tidelay/tidelay/pkg/cabundle"
	"github.com/tidelay/tidelay/pkg/cabundle/catest"
)

// Only a server with a certificate of the CA, and of the Service's name, is the injector.
func TestHandshake(t *testing.T) {
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	ca, other := catest.New(t, "ca", from, to), catest.New(t, "other", from, to)
	const name = "tidelay-injector.tidelay-system.svc"
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Serving(t, name, from, to)}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	address := func(s *httptest.Server) string { return s.Listener.Addr().String() }
	closed := httptest.NewServer(http.NotFoundHandler())
	nobody := address(closed)
	closed.Close()
	for what, test := range map[string]struct {
		address, name string
		ca            catest.CA
		says          string
	}{
		"the injector":         {address(server), name, ca, ""},
		"another CA":           {address(server), name, other, "unknown authority"},
		"another name":         {address(server), "tidelay-injector.other.svc", ca, "not tidelay-injector.other.svc"},
		"a port without TLS":   {address(plain), name, ca, "TLS handshake"},
		"nobody listens there": {nobody, name, ca, "refused"},
	} {
		err := handshake(t.Context(), test.address, test.name, cabundle.Encode(test.ca.Certificate))
		if (err == nil) != (test.says == "") || err != nil && (!strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), test.address) || !errors.Is(err, errElsewhere)) {
			t.Errorf("%s: %v, want one that says %q", what, err, test.says)
		}
	}
}

// What may be the controller's own trouble says nothing about the injector.
func TestHandshakeThatSaysNothing(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	for what, test := range map[string]struct {
		ctx     context.Context
		address string
	}{
		"a name that nobody knows": {t.Context(), "tidelay-injector.tidelay-system.svc.invalid:443"},
		"no time":                  {ended, "127.0.0.1:443"},
	} {
		if err := handshake(test.ctx, test.address, "injector", nil); err == nil || errors.Is(err, errElsewhere) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// It is told at the second check in a row, and only where there is somebody to reach.
func TestReachTakesTwoChecks(t *testing.T) {
	now := time.Now()
	w := &webhook{ready: true, configuration: &admissionregistrationv1.MutatingWebhookConfiguration{
		Webhooks: []admissionregistrationv1.MutatingWebhook{installed(certificateOf(t, true, now))},
	}}
	var err error
	c := &Checker{options: Options{Reach: func(context.Context, []byte) error { return err }}}
	failure, unknown := fmt.Errorf("%w: refused", errElsewhere), errors.New("no such host")
	for i, step := range []struct {
		err         error
		ready       bool
		unreachable bool
	}{
		{nil, true, false},
		{failure, true, false},
		{nil, true, false},
		{failure, true, false},
		{failure, true, true},
		{failure, true, true},
		{unknown, true, false},
		{unknown, true, false},
		{failure, true, false},
		{failure, true, true},
		{failure, false, false},
		{failure, true, false},
		{failure, true, true},
		{nil, true, false},
	} {
		err, w.ready = step.err, step.ready
		w.unreachable = c.reach(t.Context(), w)
		c.confirmAway(w, nil)
		if got := w.unreachable; (got != "") != step.unreachable {
			t.Errorf("check %d: %q, unreachable should be %t", i, got, step.unreachable)
		}
	}
}
