package certificate

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"time"
)

// maxOld is the largest number of old CAs in a caBundle.
const maxOld = 2

// bundle returns the caBundle for a CA in PEM: that CA, followed by the CAs of the same
// name that are in the present caBundle and still valid. Leaves that those have signed
// may be served for a while. The result is the same for every replica.
func bundle(ca, present []byte, now time.Time) []byte {
	all := parse(ca)
	if len(all) == 0 {
		return ca
	}
	text := bytes.Clone(bytes.TrimSpace(ca))
	text = append(text, '\n')
	kept := 0
	for _, old := range parse(present) {
		if kept == maxOld || old.Equal(all[0]) || old.Subject.CommonName != all[0].Subject.CommonName || !old.IsCA || now.After(old.NotAfter) {
			continue
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: old.Raw})...)
		kept++
	}
	return text
}

// parse returns the certificates in a PEM text. Everything else in it is ignored.
func parse(text []byte) []*x509.Certificate {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return all
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, c)
		}
	}
}
