package cabundle

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/cabundle/catest"
)

var noon = time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)

// newCA returns a CA that is valid for an hour around a time.
func newCA(t *testing.T, name string, at time.Time) catest.CA {
	t.Helper()
	return catest.New(t, name, at.Add(-time.Hour), at.Add(time.Hour))
}

func TestParse(t *testing.T) {
	a, b := newCA(t, "a", noon).Certificate, newCA(t, "b", noon).Certificate
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
	ca := newCA(t, "good", noon)
	good, leaf := ca.Certificate, ca.Leaf(t, "leaf", noon.Add(-time.Hour), noon.Add(time.Hour))
	old, evening := newCA(t, "old", noon.Add(-3*time.Hour)).Certificate, newCA(t, "new", noon.Add(3*time.Hour)).Certificate
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
		"a CA of the evening": {text: Encode(evening), want: "is not valid before 2030-01-31T14:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Check(test.text, noon)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
