package certificate

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/cabundle"
)

// caKey is the key of the CA's certificate in its Secret. Its key pair has the keys of
// every TLS Secret.
const caKey = "ca.crt"

// maxOld is the largest number of old CAs in a caBundle.
const maxOld = 2

// bundle returns the caBundle for a CA: that CA, followed by the CAs of the same name
// that are in the present caBundle and still valid. Leaves that those have signed may be
// served for a while. The result is the same for every replica.
func bundle(ca *x509.Certificate, present []byte, now time.Time) []byte {
	all := []*x509.Certificate{ca}
	for _, old := range cabundle.Parse(present) {
		if len(all) <= maxOld && !old.Equal(ca) && old.Subject.CommonName == ca.Subject.CommonName && cabundle.CheckCA(old, now) == nil {
			all = append(all, old)
		}
	}
	return cabundle.Encode(all...)
}

// usableCA returns the CA in a Secret. The error names the key of the Secret that keeps
// replicas from signing their certificates with it, or clients from trusting those. The
// conditions are those on which the library makes another CA
// (cert-manager, pkg/server/tls/authority, caRequiresRegeneration), and that the CA is
// valid now.
func usableCA(secret *corev1.Secret, now time.Time) (*x509.Certificate, error) {
	if err := cabundle.Check(secret.Data[caKey], now); err != nil {
		return nil, fmt.Errorf("%s: %w", caKey, err)
	}
	// The first certificate is the one that signs.
	ca := cabundle.Parse(secret.Data[caKey])[0]
	if err := cabundle.CheckCA(ca, now); err != nil {
		return nil, fmt.Errorf("%s: %w", caKey, err)
	}
	pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return nil, fmt.Errorf("%s, %s: %w", corev1.TLSCertKey, corev1.TLSPrivateKeyKey, err)
	}
	if !bytes.Equal(secret.Data[caKey], secret.Data[corev1.TLSCertKey]) || !bytes.Equal(pair.Certificate[0], ca.Raw) {
		return nil, errors.New(caKey + " and " + corev1.TLSCertKey + " differ, want the same certificate")
	}
	return ca, nil
}
