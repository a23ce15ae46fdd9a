package missed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// reachTimeout is how long the injector may take to complete a TLS handshake, which an
// idle one does within milliseconds.
const reachTimeout = 5 * time.Second

// errElsewhere reports that the Service leads to something that is not the injector.
var errElsewhere = errors.New("not the injector")

// Reach opens a connection to the injector as the API server does: to a port of its
// Service, by TLS, where it trusts the certificates of a CA bundle (PEM) and no others.
// It sends nothing. It works inside a cluster only, where Services have addresses.
//
// The error wraps errElsewhere if the API server would not get through either: the
// connection is refused, or the certificate is not trusted. Other errors, such as a
// name that can't be resolved or no answer in time, may be due to where the controller is.
func Reach(ctx context.Context, service types.NamespacedName, port int, caBundle []byte) error {
	host := service.Name + "." + service.Namespace + ".svc"
	return handshake(ctx, net.JoinHostPort(host, strconv.Itoa(port)), host, caBundle)
}

// handshake opens and closes a TLS connection to a server of a name.
func handshake(ctx context.Context, address, name string, caBundle []byte) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(caBundle)
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		if isElsewhere(err) {
			err = fmt.Errorf("%w: %w", errElsewhere, err)
		}
		return fmt.Errorf("connect to %s: %w", address, err)
	}
	_ = conn.Close() // nothing was sent
	return nil
}

// isElsewhere reports whether a failed handshake shows that the server is not the
// injector.
func isElsewhere(err error) bool {
	var noTLS tls.RecordHeaderError
	var untrusted *tls.CertificateVerificationError
	var alert tls.AlertError
	return errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &noTLS) || errors.As(err, &untrusted) || errors.As(err, &alert)
}
