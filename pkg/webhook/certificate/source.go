// Package certificate gives the webhook a serving certificate and tells the API
// server to trust it, without anybody's help and without another system.
//
// The CA lives in a Secret that all replicas share; whoever finds it missing or
// past two thirds of its year makes a new one, and the API server's optimistic
// locking lets one of them win. Each replica signs its own leaf, for a week, and
// keeps it in memory. That part is cert-manager's library. Ours is to copy the
// CA into the MutatingWebhookConfiguration.
//
// When the CA changes, the caBundle has both, and every replica goes on serving
// its old leaf until the new CA has been in there for a while. No admission
// fails in between.
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

// retryInterval is how long to wait for the CA before asking for a leaf again.
// It is most of the time the first replica takes to become ready.
const retryInterval = 200 * time.Millisecond

// Source holds the serving certificate. Run it with a manager.
type Source struct {
	source   *cmtls.DynamicSource
	handover handover
	log      logr.Logger
}

// SecretName is the name of the CA's Secret for a MutatingWebhookConfiguration.
func SecretName(webhook string) string { return webhook + "-ca" }

// NewSource returns a Source of certificates for service, signed by the CA in
// trust's Secret, which is in the same namespace.
func NewSource(config *rest.Config, trust *Trust, service string, log logr.Logger) *Source {
	secret := trust.Secret
	return &Source{
		handover: handover{trust: trust},
		source: &cmtls.DynamicSource{
			DNSNames: []string{
				service + "." + secret.Namespace + ".svc",
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

// Start keeps the certificate fresh until ctx ends. The library tells of each
// of its steps, which is for debugging only.
func (s *Source) Start(ctx context.Context) error {
	if err := s.source.Start(logr.NewContext(ctx, s.log.V(1))); err != nil {
		return fmt.Errorf("keep serving certificate: %w", err)
	}
	return nil
}

// NeedLeaderElection is false: every replica has its own leaf.
func (s *Source) NeedLeaderElection() bool { return false }

// ConfigureTLS makes a server serve the certificate, over HTTP/1.1: the API
// server speaks nothing else to webhooks.
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
	if !s.source.Healthy() {
		return errors.New("no serving certificate yet")
	}
	return nil
}
