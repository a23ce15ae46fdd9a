// Package catest makes CAs and certificates for tests.
package catest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// CA is a CA with its key.
type CA struct {
	Certificate *x509.Certificate
	// KeyPEM is the key as in a TLS Secret (PKCS #8).
	KeyPEM []byte

	key crypto.Signer
}

// New returns a CA that is valid from notBefore to notAfter. No two have the same key or
// serial number.
func New(t testing.TB, name string, notBefore, notAfter time.Time) CA {
	t.Helper()
	key := newKey(t)
	template := newTemplate(t, name, notBefore, notAfter)
	template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatalf("encode key: %v", err)
	}
	return CA{
		Certificate: sign(t, template, template, key.Public(), key),
		KeyPEM:      pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), key: key,
	}
}

// Leaf returns a certificate that the CA has signed and that is not a CA's.
func (ca CA) Leaf(t testing.TB, name string, notBefore, notAfter time.Time) *x509.Certificate {
	t.Helper()
	return sign(t, newTemplate(t, name, notBefore, notAfter), ca.Certificate, newKey(t).Public(), ca.key)
}

// Serving returns a certificate with its key, for a server of a DNS name.
func (ca CA) Serving(t testing.TB, name string, notBefore, notAfter time.Time) tls.Certificate {
	t.Helper()
	key, template := newKey(t), newTemplate(t, name, notBefore, notAfter)
	template.DNSNames = []string{name}
	return tls.Certificate{Certificate: [][]byte{sign(t, template, ca.Certificate, key.Public(), ca.key).Raw}, PrivateKey: key}
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("make key: %v", err)
	}
	return key
}

func newTemplate(t testing.TB, name string, notBefore, notAfter time.Time) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		t.Fatalf("make serial number: %v", err)
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true, NotBefore: notBefore, NotAfter: notAfter,
	}
}

func sign(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatalf("sign certificate %q: %v", template.Subject.CommonName, err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("parse certificate %q: %v", template.Subject.CommonName, err)
	}
	return c
}
