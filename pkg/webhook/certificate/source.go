// Package certificate gives the webhook a serving certificate and makes the API server
// trust it. It needs no other system, such as cert-manager.
//
// The CA is in a Secret that all replicas share. A replica that finds no CA, or one
// that is past two thirds of its year, makes a new one; the API server's optimistic
// locking accepts that of one replica only. Each replica signs its own leaf
// certificate, which is valid for a week, and keeps it in memory. All this is done by
// cert-manager's library. This package copies the CA into the
// MutatingWebhookConfiguration.
//
// A Secret whose CA can't be used, because it can't be read, is no CA, has expired or
// lacks the key, changes nothing: the caBundle keeps the CA before, and replicas go on
// with their leaves. A Secret that may be written gets a new CA at once. One that is
// immutable is told until somebody deletes it. A replica that starts meanwhile can't
// sign a leaf: it says so, and does not become ready.
//
// After the CA has changed, the caBundle has the old and the new one, and every
// replica serves its old leaf until the new CA has been there for a while. So no
// admission fails in between.
package certificate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	cmtls "github.com/cert-manager/cert-manager/pkg/server/tls"
	"github.com/cert-manager/cert-manager/pkg/server/tls/authority"
	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
)

// retryInterval is the time between two attempts to get a leaf while there is no CA.
// The first replica spends most of its start-up waiting for it.
const retryInterval = 200 * time.Millisecond

// Source has the serving certificate. Run it with a manager.
type Source struct {
	source   *cmtls.DynamicSource
	handover handover
	log      logr.Logger
}

// SecretName returns the name of the CA's Secret for a MutatingWebhookConfiguration.
func SecretName(webhook string) string { return webhook + "-ca" }

// ServerName returns the DNS name in the certificates for the Service called service, by
// which API servers call it.
func ServerName(service, namespace string) string { return service + "." + namespace + ".svc" }

// NewSource returns a Source of certificates for the Service called service. They are
// signed by the CA in trust's Secret, which is in the Service's namespace.
func NewSource(config *rest.Config, trust *Trust, service string, log logr.Logger) *Source {
	secret := trust.Secret
	return &Source{
		handover: handover{trust: trust},
		source: &cmtls.DynamicSource{
			DNSNames: []string{
				ServerName(service, secret.Namespace),
				service + "." + secret.Namespace,
			},
			RetryInterval: retryInterval,
			Authority: &authority.DynamicAuthority{
				SecretNamespace: secret.Namespace,
				SecretName:      secret.Name,
				SecretLabels:    map[string]string{"app.kubernetes.io/name": "tidelay"},
				CommonName:      secret.Name,
				RESTConfig:      config,
			},
		},
		log: log,
	}
}

// Start renews the certificate until ctx ends. The library logs each of its steps, so
// its log is at debug level.
func (s *Source) Start(ctx context.Context) error {
	if err := s.source.Start(logr.NewContext(ctx, s.log.V(1))); err != nil {
		return fmt.Errorf("keep serving certificate: %w", err)
	}
	return nil
}

// NeedLeaderElection is false, because every replica has its own leaf.
func (s *Source) NeedLeaderElection() bool { return false }

// ConfigureTLS makes a server serve the certificate, over HTTP/1.1 only, which is all
// that the API server uses for webhooks.
func (s *Source) ConfigureTLS(config *tls.Config) {
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		latest, err := s.source.GetCertificate(hello)
		if err != nil {
			return nil, err
		}
		return s.handover.choose(latest, time.Now()), nil
	}
	config.MinVersion = tls.VersionTLS12
	config.NextProtos = []string{"http/1.1"}
}

// Ready returns nil once there is a certificate to serve. It is a
// healthz.Checker.
func (s *Source) Ready(*http.Request) error {
	if s.source.Healthy() {
		return nil
	}
	if problem := s.handover.trust.Problem(); problem != nil {
		return fmt.Errorf("no serving certificate can be made: %w", problem)
	}
	return errors.New("no serving certificate yet")
}

// Trusted returns nil while the API server trusts the certificate that is served. It is
// a healthz.Checker. A replica that is not trusted answers no admission, so it does no
// harm to leave it out of the Service, and shows what is wrong.
func (s *Source) Trusted(*http.Request) error {
	latest, err := s.source.GetCertificate(nil)
	if err != nil {
		return fmt.Errorf("read serving certificate: %w", err)
	}
	return s.handover.trust.Trusts(s.handover.choose(latest, time.Now()).Leaf)
}
