package matrix_test

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/matrix"
)

// The rules of the custom resource.
var (
	zonePattern = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`)
	timePattern = regexp.MustCompile(`^[0-9]{1,9}([.][0-9]{1,6})?(us|ms|s)$`)
	ratePattern = regexp.MustCompile(`^[0-9]+([.][0-9]+)?(bit|kbit|mbit|gbit)$`)
)

// checkLink checks that the custom resource takes a link, and the agents do.
func checkLink(t *testing.T, zones []string, l v1alpha1.Link) {
	t.Helper()
	for _, zone := range l.Between {
		if !slices.Contains(zones, string(zone)) || !zonePattern.MatchString(string(zone)) || len(zone) > 63 {
			t.Errorf("zone %q, and zones are %q", zone, zones)
		}
	}
	for _, text := range []string{string(l.RTT), string(l.Jitter)} {
		if text != "" && (!timePattern.MatchString(text) || len(text) > 32) {
			t.Errorf("time %q", text)
		}
	}
	if l.RTT == "" || l.Jitter != "" && l.RTT == "0ms" {
		t.Errorf("rtt %q with the jitter %q", l.RTT, l.Jitter)
	}
	wire := api.Fault{Name: "link", Delay: string(l.RTT), Jitter: string(l.Jitter)}
	if l.RTT == "0ms" {
		wire.Delay = "1us" // nothing is no fault of an agent's
	}
	if l.Loss != nil {
		if *l.Loss.Percent <= 0 || *l.Loss.Percent > 100 {
			t.Errorf("loss %v", *l.Loss.Percent)
		}
		wire.Loss = &api.Loss{Percent: float64(*l.Loss.Percent)}
	}
	if l.Rate != nil {
		if !ratePattern.MatchString(l.Rate.PerSecond) || len(l.Rate.PerSecond) > 32 {
			t.Errorf("rate %q", l.Rate.PerSecond)
		}
		wire.Rate = &api.Rate{PerSecond: l.Rate.PerSecond}
	}
	if _, err := fault.Parse(wire, fault.Limits{}); err != nil {
		t.Errorf("%v: %v", l, err)
	}
}

// write writes links as a list of pairs.
func write(m matrix.Matrix) []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, header)
	cut := func(text string, unit int) string { return text[:max(0, len(text)-unit)] }
	for _, l := range m.Links {
		loss, rate := "", ""
		if l.Loss != nil {
			loss = fault.Percent(float64(*l.Loss.Percent)*10_000 + 0.5).String()
			loss = cut(loss, len("%"))
		}
		if l.Rate != nil {
			rate = cut(l.Rate.PerSecond, len("mbit"))
		}
		fmt.Fprintf(&b, "%s,%s,%s,%s,%s,%s\n", l.Between[0], l.Between[1], cut(string(l.RTT), len("ms")), cut(string(l.Jitter), len("ms")), loss, rate)
	}
	return b.Bytes()
}

// FuzzRead reads anything. What is read is valid, and reads the same again when it is
// written as a list of pairs.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", "from,to,rtt_ms\na,b,1\n", header + "a,b,20,1.5,0.01,1000\nb,a,0,,,0.5\na,a,1,,,\n",
		"rtt_ms,a,b,c\na,1,2,3\nb,2,1,4\nc,3,4,1\n", ",a,b\na,,1\nb,,\n", ",a,b\na,0,103.435\nb,104.169,0\n",
		"\ufeff# x\r\nfrom, to ,rtt_ms\r\n a ,\"b\", 2 \r\n", "from,to,rtt_ms\na,b,007.500\na,c,600000\n",
		"from,to,rtt_ms\na,b,1e3\n", "from,to,rtt_ms\na,b,NaN\na,b,1\na,b,2\n", "\"#\",,\nfrom,to\n", ",a,a\na,1\n", "\"",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		m, err := matrix.Read(bytes.NewReader(content))
		if err != nil {
			if len(err.Error()) > 10_000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		checkValid(t, m)
		again, err := matrix.Read(bytes.NewReader(write(m)))
		if err != nil {
			t.Fatalf("%v of\n%s", err, write(m))
		}
		slices.Sort(m.Zones)
		slices.Sort(again.Zones)
		if len(again.Links) != len(m.Links) || !isWithin(again.Zones, m.Zones) {
			t.Errorf("read %s and then %s", say(m), say(again))
		}
		for _, l := range m.Links {
			if !slices.ContainsFunc(again.Links, func(other v1alpha1.Link) bool { return cmp.Equal(l, other) }) {
				t.Errorf("read %s and then %s", say(m), say(again))
			}
		}
	})
}

// isWithin reports whether all names are among others: a zone that nothing is between is in
// a square table, and not in a list of its pairs.
func isWithin(names, others []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(others, name) })
}
