package certificate

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"time"
)

// mostOld is how many CAs of before a caBundle keeps beside the one in use.
const mostOld = 2

// bundle returns the caBundle for a CA in PEM: that CA, and behind it those of
// the same name that are in the caBundle of now and still valid. A leaf of
// theirs may be served for a while yet. It is the same for every replica.
func bundle(ca, now []byte, at time.Time) []byte {
	all := parse(ca)
	if len(all) == 0 {
		return ca
	}
	text := bytes.Clone(bytes.TrimSpace(ca))
	text = append(text, '\n')
	kept := 0
	for _, old := range parse(now) {
		if kept == mostOld || old.Equal(all[0]) || old.Subject.CommonName != all[0].Subject.CommonName || !old.IsCA || at.After(old.NotAfter) {
			continue
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: old.Raw})...)
		kept++
	}
	return text
}

// parse returns the certificates in a text in PEM, and leaves out what is none.
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
