// Package cabundle reads the certificates of CAs in PEM, as they are in the caBundle of
// a webhook and in the Secret of a CA.
package cabundle

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// Parse returns the certificates in a PEM text, in their order. Everything else in it
// is ignored, as the API server ignores it in a caBundle (x509.CertPool).
func Parse(text []byte) []*x509.Certificate {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return all
		}
		if block.Type != blockType {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, c)
		}
	}
}

// Encode returns the certificates in PEM, in their order. Parse reads them back.
func Encode(all ...*x509.Certificate) []byte {
	var text bytes.Buffer
	for _, c := range all {
		_ = pem.Encode(&text, &pem.Block{Type: blockType, Bytes: c.Raw}) // a Buffer takes all
	}
	return text.Bytes()
}

// Check returns nil if at least one certificate in a PEM text is that of a CA, and
// valid now. Otherwise the error says what is wrong with the first certificate.
func Check(text []byte, now time.Time) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return errors.New("empty, want a CA's certificate in PEM")
	}
	all := Parse(text)
	if len(all) == 0 {
		return errors.New("no certificate in it can be read, want a CA's in PEM")
	}
	var first error
	for _, c := range all {
		err := CheckCA(c, now)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// CheckCA returns nil if a certificate is that of a CA, and valid now.
func CheckCA(c *x509.Certificate, now time.Time) error {
	switch {
	case !c.IsCA || !c.BasicConstraintsValid:
		return fmt.Errorf("the certificate %q is not that of a CA", c.Subject.CommonName)
	case now.Before(c.NotBefore):
		return fmt.Errorf("the certificate %q is not valid before %s", c.Subject.CommonName, c.NotBefore.UTC().Format(time.RFC3339))
	case now.After(c.NotAfter):
		return fmt.Errorf("the certificate %q expired at %s", c.Subject.CommonName, c.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// blockType is the type of a certificate's PEM block (RFC 7468, section 5.1).
const blockType = "CERTIFICATE"
