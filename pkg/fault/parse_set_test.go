package fault_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

func TestParseSetOfMany(t *testing.T) {
	var all []api.Fault
	for i := range fault.MaxFaults {
		all = append(all, api.Fault{Name: fmt.Sprintf("f%d", fault.MaxFaults-i), Peers: []string{fmt.Sprintf("10.0.0.%d", i)}, Delay: "1ms"})
	}
	got, err := fault.ParseSet(all, limits())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(got, func(a, b fault.Fault) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not in order of the names")
	}
	_, err = fault.ParseSet(append(all, api.Fault{Name: "more", Delay: "1ms"}), limits())
	if diff := cmp.Diff([]string{"faults"}, fields(t, err)); diff != "" {
		t.Errorf("one more: %s", diff)
	}
	more := append(slices.Clone(got), fault.Fault{Name: "more"})
	if _, err := fault.NewSet(more); err == nil {
		t.Error("NewSet accepts one more")
	}
	// Each alone is fine, all together are more than a packet should be compared with.
	for i := range all {
		all[i].Ports = &api.Ports{Remote: singlePorts(16), Local: singlePorts(10)}
	}
	_, err = fault.ParseSet(all, limits())
	if diff := cmp.Diff([]string{"faults"}, fields(t, err)); diff != "" {
		t.Errorf("many combinations: %s", diff)
	}
	if _, err := fault.ParseSet(all[:12], limits()); err != nil {
		t.Errorf("3840 combinations: %v", err)
	}
}

func TestParseMasksSortsAndCompacts(t *testing.T) {
	got, err := fault.Parse(api.Fault{
		Name: "a", Delay: "1ms", Jitter: "1us",
		Peers: []string{"fd00::1/64", "10.0.0.7", "::ffff:10.0.0.7", "10.1.2.3/16", "10.0.0.7/32", "fd00::/64"},
		Ports: &api.Ports{Remote: []api.PortRange{port(5, 9), port(5, 5), port(1, 1), port(5, 9)}},
	}, limits())
	if err != nil {
		t.Fatal(err)
	}
	want := api.Fault{
		Name: "a", Direction: "egress", Delay: "1ms", Jitter: "1us", Distribution: "uniform",
		Peers: []string{"10.0.0.7", "10.1.0.0/16", "fd00::/64"},
		Ports: &api.Ports{Remote: []api.PortRange{port(1, 1), port(5, 5), port(5, 9)}},
	}
	if diff := cmp.Diff(want, got.Wire()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParsePeer(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.5":          "10.0.0.5/32",
		"10.0.0.5/8":        "10.0.0.0/8",
		"0.0.0.0/0":         "0.0.0.0/0",
		"::/0":              "::/0",
		"::ffff:10.0.0.5":   "10.0.0.5/32",
		"fd00::5":           "fd00::5/128",
		"FD00::5/64":        "fd00::/64",
		"fd00:0:0:0::5/128": "fd00::5/128",
	} {
		if got, err := fault.ParsePeer(in); err != nil || got.String() != want {
			t.Errorf("ParsePeer(%q) = %v, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", " ", "pd-0", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.5/33", "10.0.0.5/-1", "10.0.0.5/", "10.0.0.5/255.0.0.0", "10.0.0.5:80",
		"fe80::1%eth0", "fe80::1%eth0/64", "::ffff:10.0.0.5/120", "fd00::/129", "[fd00::5]", "10.0.0.5\n",
	} {
		if got, err := fault.ParsePeer(in); err == nil {
			t.Errorf("ParsePeer(%q) = %v, want an error", in, got)
		}
	}
}

func TestLife(t *testing.T) {
	capped, stored := limits(), fault.Limits{Stored: true, MaxDuration: time.Minute}
	capped.MaxDuration = time.Hour
	fault1 := func(duration, expiresAt string) api.Fault {
		return api.Fault{Name: "a", Delay: "1ms", Duration: duration, ExpiresAt: expiresAt}
	}
	for name, c := range map[string]struct {
		in     api.Fault
		limits fault.Limits
		want   time.Time // zero for never
		field  string
	}{
		"for ever":                  {in: fault1("", ""), limits: limits()},
		"ten minutes":               {in: fault1("10m", ""), limits: limits(), want: noon.Add(10 * time.Minute)},
		"until then":                {in: fault1("", "2030-01-31T14:00:00+01:00"), limits: limits(), want: noon.Add(time.Hour)},
		"the cap by default":        {in: fault1("", ""), limits: capped, want: noon.Add(time.Hour)},
		"the cap":                   {in: fault1("60m", ""), limits: capped, want: noon.Add(time.Hour)},
		"until the cap":             {in: fault1("", "2030-01-31T13:00:00Z"), limits: capped, want: noon.Add(time.Hour)},
		"beyond the cap":            {in: fault1("61m", ""), limits: capped, field: "duration"},
		"until after the cap":       {in: fault1("", "2030-01-31T13:00:00.000000001Z"), limits: capped, field: "expiresAt"},
		"stored for ever":           {in: fault1("", ""), limits: stored},
		"stored and over":           {in: fault1("", "2020-01-31T12:00:00Z"), limits: stored, want: noon.AddDate(-10, 0, 0)},
		"stored and beyond the cap": {in: fault1("", "2040-01-31T12:00:00Z"), limits: stored, want: noon.AddDate(10, 0, 0)},
		"stored and damaged":        {in: fault1("", "2040"), limits: stored, field: "expiresAt"},
	} {
		got, err := fault.Parse(c.in, c.limits)
		switch {
		case c.field != "":
			if err == nil || !slices.Contains(fields(t, err), c.field) {
				t.Errorf("%s: ends %v, %v; want a complaint about %s", name, got.ExpiresAt, err, c.field)
			}
		case err != nil || !got.ExpiresAt.Equal(c.want):
			t.Errorf("%s: ends %v, %v; want %v", name, got.ExpiresAt, err, c.want)
		}
	}
}
