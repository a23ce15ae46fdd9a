package certificate

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

// issuer is a CA of a test.
type issuer struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// noon is when the tests are; certificates are valid for some hours after it.
func noon() time.Time { return time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC) }

func newIssuer(t *testing.T, name string, hours int) issuer {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: noon().Add(-time.Hour), NotAfter: noon().Add(time.Duration(hours) * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return issuer{sign(t, template, template, key.Public(), key), key}
}

func (i issuer) leaf(t *testing.T, hours int) *tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: noon().Add(-time.Hour), NotAfter: noon().Add(time.Duration(hours) * time.Hour)}
	key := newKey(t)
	return &tls.Certificate{Leaf: sign(t, template, i.certificate, key.Public(), i.key)}
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pems writes the CAs one after the other.
func pems(all ...issuer) []byte {
	var text []byte
	for _, i := range all {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.certificate.Raw})...)
	}
	return text
}

func TestBundle(t *testing.T) {
	a, b, c, d := newIssuer(t, "ours", 24), newIssuer(t, "ours", 24), newIssuer(t, "ours", 24), newIssuer(t, "ours", 24)
	expired, other := newIssuer(t, "ours", 0), newIssuer(t, "another's", 24)
	tests := map[string]struct {
		ca        issuer
		now, want []byte
	}{
		"if there is nothing yet, the CA":              {ca: a, want: pems(a)},
		"if it is there already, the CA":               {ca: a, now: pems(a), want: pems(a)},
		"if there is another, both, the new one first": {ca: b, now: pems(a), want: pems(b, a)},
		"if both are there, both":                      {ca: b, now: pems(b, a), want: pems(b, a)},
		"if an old one is in use again, it is first":   {ca: a, now: pems(b, a), want: pems(a, b)},
		"if there are many, the latest":                {ca: d, now: pems(c, b, a), want: pems(d, c, b)},
		"if an old one has expired, not that":          {ca: b, now: pems(expired, a), want: pems(b, a)},
		"if one is not ours, not that":                 {ca: b, now: pems(other, a), want: pems(b, a)},
		"if there is something else, not that":         {ca: a, now: []byte("another"), want: pems(a)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := bundle(test.ca.certificate, test.now, noon().Add(time.Minute))
			if string(got) != string(test.want) {
				t.Errorf("bundle is\n%s\nwant\n%s", got, test.want)
			}
			if again := bundle(test.ca.certificate, got, noon().Add(time.Minute)); string(again) != string(got) {
				t.Errorf("the next replica makes another of it:\n%s", again)
			}
		})
	}
}

// An old leaf is served until the new CA has been trusted for a while, and not
// when nobody trusts it any more.
func TestHandover(t *testing.T) {
	before, after := newIssuer(t, "ours", 24), newIssuer(t, "ours", 24)
	trust := &Trust{}
	h := handover{trust: trust}
	first, renewed, next := before.leaf(t, 2), before.leaf(t, 2), after.leaf(t, 24)
	serves := func(what string, latest *tls.Certificate, at time.Duration, want *tls.Certificate) {
		t.Helper()
		if got := h.choose(latest, noon().Add(at)); got != want {
			t.Errorf("%s: another certificate is served", what)
		}
	}
	serves("the first, trusted or not", first, 0, first)
	trust.remember(pems(before), noon())
	serves("the first again", first, time.Second, first)
	serves("one of the same CA, which is new here", renewed, time.Second, first)
	serves("and no more", renewed, settleTime, renewed)

	serves("one of a CA not in the caBundle", next, time.Minute, renewed)
	trust.remember(pems(after, before), noon().Add(time.Minute))
	serves("one of a CA that just came there", next, time.Minute+time.Second, renewed)
	trust.remember(pems(after, before), noon().Add(time.Minute+5*time.Second)) // is no news
	serves("one of a CA that came there a while ago", next, time.Minute+settleTime, next)

	h.serving = renewed
	serves("when the old one has expired", next, 2*time.Hour, next)
	h.serving = renewed
	trust.remember(pems(after), noon())
	serves("when the old CA is gone", next, 0, next)
}
