package missed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// reachTimeout is how long the injector may take to complete a TLS handshake, which an
// idle one does within milliseconds.
const reachTimeout = 5 * time.Second

// Reach opens a connection to the injector as the API server does: to a port of its
// Service, by TLS, where it trusts the certificates of a CA bundle (PEM) and no others.
// It sends nothing. It works inside a cluster only, where Services have addresses.
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
		return fmt.Errorf("connect to %s: %w", address, err)
	}
	_ = conn.Close() // nothing was sent
	return nil
}
