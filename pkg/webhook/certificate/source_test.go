package certificate

import (
	"crypto/tls"
	"slices"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
)

func TestSourceBeforeTheFirstCertificate(t *testing.T) {
	s := NewSource(&rest.Config{}, &Trust{Secret: secretName}, "tidelay-injector", logr.Discard())
	want := []string{"tidelay-injector.tidelay-system.svc", "tidelay-injector.tidelay-system"}
	if !slices.Equal(s.source.DNSNames, want) {
		t.Errorf("names %q, want %q", s.source.DNSNames, want)
	}
	if s.Ready(nil) == nil {
		t.Error("ready without a certificate")
	}
	config := &tls.Config{NextProtos: []string{"h2"}}
	s.ConfigureTLS(config)
	if certificate, err := config.GetCertificate(&tls.ClientHelloInfo{}); err == nil {
		t.Errorf("serves %v, want an error", certificate)
	}
	if !slices.Equal(config.NextProtos, []string{"http/1.1"}) || config.MinVersion < tls.VersionTLS12 {
		t.Errorf("protocols %q from TLS %x", config.NextProtos, config.MinVersion)
	}
}
