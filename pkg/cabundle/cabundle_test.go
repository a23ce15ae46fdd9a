package cabundle

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)

// newCertificate is valid for an hour around a time.
func newCertificate(t *testing.T, name string, isCA bool, at time.Time) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: isCA, BasicConstraintsValid: isCA,
		NotBefore: at.Add(-time.Hour), NotAfter: at.Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParse(t *testing.T) {
	a, b := newCertificate(t, "a", true, noon), newCertificate(t, "b", true, noon)
	key := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("secret")})
	broken := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("broken")})
	crlf := bytes.ReplaceAll(Encode(a), []byte("\n"), []byte("\r\n"))
	for name, test := range map[string]struct {
		text []byte
		want []*x509.Certificate
	}{
		"nothing":                    {},
		"a word":                     {text: []byte("garbage")},
		"one":                        {text: Encode(a), want: []*x509.Certificate{a}},
		"two, with words and a key":  {text: slices.Concat([]byte("first:\n"), Encode(a), key, broken, []byte("second:\n"), Encode(b), []byte("end")), want: []*x509.Certificate{a, b}},
		"lines of another system":    {text: crlf, want: []*x509.Certificate{a}},
		"the beginning of one":       {text: Encode(a)[:100]},
		"no newline at the very end": {text: bytes.TrimSpace(Encode(b)), want: []*x509.Certificate{b}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Parse(test.text); !slices.EqualFunc(got, test.want, (*x509.Certificate).Equal) {
				t.Errorf("%d certificates, want %d", len(got), len(test.want))
			}
		})
	}
}

func TestCheck(t *testing.T) {
	good := newCertificate(t, "good", true, noon)
	leaf, old := newCertificate(t, "leaf", false, noon), newCertificate(t, "old", true, noon.Add(-3*time.Hour))
	for name, test := range map[string]struct {
		text []byte
		want string
	}{
		"a CA":                {text: Encode(good)},
		"a CA after others":   {text: Encode(leaf, old, good)},
		"nothing":             {want: "empty"},
		"blanks":              {text: []byte(" \n"), want: "empty"},
		"a word":              {text: []byte("garbage"), want: "no certificate in it can be read"},
		"a leaf":              {text: Encode(leaf), want: `the certificate "leaf" is not that of a CA`},
		"an expired CA":       {text: Encode(old, leaf), want: `the certificate "old" expired at 2030-01-31T10:00:00Z`},
		"a CA of the morning": {text: Encode(newCertificate(t, "new", true, noon.Add(3*time.Hour))), want: "is not valid before 2030-01-31T14:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Check(test.text, noon)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
