package measure_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/measure"
	"github.com/tidelay/tidelay/pkg/fault"
)

func TestParseTarget(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.5":               "icmp 10.0.0.5",
		"10.0.0.5:20160":         "tcp 10.0.0.5:20160",
		"fd00::5":                "icmp fd00::5",
		"[FD00::5]:1":            "tcp [fd00::5]:1",
		"::ffff:10.0.0.5":        "icmp 10.0.0.5",
		"[::ffff:10.0.0.5]:2379": "tcp 10.0.0.5:2379",
		"10.0.0.5:65535":         "tcp 10.0.0.5:65535",
	} {
		got, err := measure.ParseTarget(in)
		if err != nil || got.Protocol()+" "+got.String() != want {
			t.Errorf("ParseTarget(%q) = %v, %v; want %s", in, got, err, want)
			continue
		}
		if again, err := measure.ParseTarget(got.String()); err != nil || again != got {
			t.Errorf("%q is written %q, which is %v, %v", in, got, again, err)
		}
	}
	for _, in := range []string{"", "pd-0", "pd-0:2379", "10.0.0.5:0", "10.0.0.5:", "10.0.0.5:65536", "10.0.0.5:http", ":80", "[fd00::5]", "10.0.0.0/8", "http://10.0.0.5", "10.0.0.5\n", strings.Repeat("1", 1<<20)} {
		if got, err := measure.ParseTarget(in); err == nil || len(err.Error()) > 300 {
			t.Errorf("ParseTarget(%.40q) = %v, %.80v; want an error of one line", in, got, err)
		}
	}
}

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		in              api.Measure
		protocols       []string
		count           int
		interval, limit time.Duration
	}{
		"what is left out": {api.Measure{Targets: []string{"10.0.0.5"}}, []string{"icmp"}, 10, 100 * time.Millisecond, 10 * time.Second},
		"both protocols":   {api.Measure{Targets: []string{"10.0.0.5", "10.0.0.5:1"}}, []string{"icmp", "tcp"}, 10, 100 * time.Millisecond, 10 * time.Second},
		"TCP":              {api.Measure{Targets: []string{"10.0.0.5:1"}, Protocol: "tcp", Count: 100, Interval: "10ms", Timeout: "600ms"}, []string{"tcp"}, 100, 10 * time.Millisecond, time.Minute},
		"an interval longer than the time-out": {
			api.Measure{Targets: []string{"fd00::5"}, Protocol: "icmp", Count: 60, Interval: "1s", Timeout: "10ms"},
			[]string{"icmp"},
			60, time.Second, time.Minute,
		},
		"the longest time-out": {api.Measure{Targets: slices.Repeat([]string{"10.0.0.5"}, measure.MaxTargets), Count: 6, Timeout: "10s"}, slices.Repeat([]string{"icmp"}, measure.MaxTargets), 6, 100 * time.Millisecond, time.Minute},
	} {
		got, err := measure.Parse(c.in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var protocols []string
		for _, target := range got.Targets {
			protocols = append(protocols, target.Protocol())
		}
		if !slices.Equal(protocols, c.protocols) || got.Count != c.count || got.Interval != c.interval || got.Time() != c.limit {
			t.Errorf("%s: %+v, at most %s", name, got, got.Time())
		}
	}
}

func TestParseRefuses(t *testing.T) {
	target := []string{"10.0.0.5"}
	for name, c := range map[string]struct {
		in   api.Measure
		want []string
	}{
		"no targets":        {api.Measure{}, []string{"targets"}},
		"many targets":      {api.Measure{Targets: slices.Repeat(target, measure.MaxTargets+1)}, []string{"targets"}},
		"a name":            {api.Measure{Targets: []string{"10.0.0.5", "pd-0"}}, []string{"targets[1]"}},
		"a long name":       {api.Measure{Targets: []string{strings.Repeat("a", 1<<20)}}, []string{"targets[0]"}},
		"TCP without port":  {api.Measure{Targets: target, Protocol: "tcp"}, []string{"targets[0]"}},
		"ICMP with port":    {api.Measure{Targets: []string{"10.0.0.5:1"}, Protocol: "icmp"}, []string{"targets[0]"}},
		"a negative count":  {api.Measure{Targets: target, Count: -1}, []string{"count"}},
		"a large count":     {api.Measure{Targets: target, Count: 101}, []string{"count"}},
		"a short interval":  {api.Measure{Targets: target, Interval: "9ms"}, []string{"interval"}},
		"a long interval":   {api.Measure{Targets: target, Interval: "1.001s"}, []string{"interval"}},
		"a bare interval":   {api.Measure{Targets: target, Interval: "100"}, []string{"interval"}},
		"a short time-out":  {api.Measure{Targets: target, Timeout: "9.999ms"}, []string{"timeout"}},
		"a long time-out":   {api.Measure{Targets: target, Timeout: "11s"}, []string{"timeout"}},
		"no time-out":       {api.Measure{Targets: target, Timeout: "0s"}, []string{"timeout"}},
		"more than minutes": {api.Measure{Targets: target, Count: 61, Interval: "1s"}, []string{"count"}},
		"everything": {
			api.Measure{Targets: []string{"x", "y"}, Count: -5, Interval: "soon", Timeout: "late"},
			[]string{"targets[0]", "targets[1]", "count", "interval", "timeout"},
		},
	} {
		_, err := measure.Parse(c.in)
		var invalid fault.Invalid
		if !errors.As(err, &invalid) {
			t.Errorf("%s: %v, want an Invalid", name, err)
			continue
		}
		var got []string
		for _, e := range invalid {
			got = append(got, e.Field)
			if e.Accepted == "" || len(e.Value) > 64 {
				t.Errorf("%s: %+v", name, e)
			}
		}
		if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A protocol that is not known is the one mistake there is.
func TestParseBlamesNoTargetForTheProtocol(t *testing.T) {
	_, err := measure.Parse(api.Measure{Targets: []string{"10.0.0.5", "10.0.0.5:1"}, Protocol: "sctp"})
	var invalid fault.Invalid
	if !errors.As(err, &invalid) || len(invalid) != 1 || invalid[0].Field != "protocol" {
		t.Errorf("%v, want a complaint about the protocol alone", err)
	}
}
