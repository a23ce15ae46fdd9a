package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/cabundle"
	"github.com/tidelay/tidelay/pkg/cabundle/catest"
)

// noon is when the tests are; certificates are valid for some hours after it.
func noon() time.Time { return time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC) }

func newCA(t *testing.T, name string, hours int) catest.CA {
	t.Helper()
	return catest.New(t, name, noon().Add(-time.Hour), noon().Add(time.Duration(hours)*time.Hour))
}

func newLeaf(t *testing.T, ca catest.CA, hours int) *x509.Certificate {
	t.Helper()
	return ca.Leaf(t, webhookName, noon().Add(-time.Hour), noon().Add(time.Duration(hours)*time.Hour))
}

// pems returns the certificates of the CAs in PEM.
func pems(all ...catest.CA) []byte {
	var text []byte
	for _, ca := range all {
		text = append(text, cabundle.Encode(ca.Certificate)...)
	}
	return text
}

func TestBundle(t *testing.T) {
	a, b, c, d := newCA(t, "ours", 24), newCA(t, "ours", 24), newCA(t, "ours", 24), newCA(t, "ours", 24)
	expired, other := newCA(t, "ours", 0), newCA(t, "another's", 24)
	tests := map[string]struct {
		ca        catest.CA
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
			got := bundle(test.ca.Certificate, test.now, noon().Add(time.Minute))
			if string(got) != string(test.want) {
				t.Errorf("bundle is\n%s\nwant\n%s", got, test.want)
			}
			if again := bundle(test.ca.Certificate, got, noon().Add(time.Minute)); string(again) != string(got) {
				t.Errorf("the next replica makes another of it:\n%s", again)
			}
		})
	}
}

// An old leaf is served until the new CA has been trusted for a while, and not
// when nobody trusts it any more.
func TestHandover(t *testing.T) {
	before, after := newCA(t, "ours", 24), newCA(t, "ours", 24)
	trust := &Trust{}
	h := handover{trust: trust}
	served := func(ca catest.CA, hours int) *tls.Certificate { return &tls.Certificate{Leaf: newLeaf(t, ca, hours)} }
	first, renewed, next := served(before, 2), served(before, 2), served(after, 24)
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
