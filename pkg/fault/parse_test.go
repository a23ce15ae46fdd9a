package fault_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// noon is the time of requests in tests.
var noon = time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)

func limits() fault.Limits {
	return fault.Limits{Now: fault.Moment{Wall: noon, Boot: time.Hour}, Devices: []string{"eth0", "eth1"}}
}

func port(first, last uint16) api.PortRange { return api.PortRange{First: first, Last: last} }

// peers returns so many different addresses.
func peers(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("10.0.%d.%d", i/250, i%250+1))
	}
	return all
}

// singlePorts returns so many different ports.
func singlePorts(n int) []api.PortRange {
	var all []api.PortRange
	for i := range n {
		all = append(all, port(uint16(i+1), uint16(i+1)))
	}
	return all
}

// fields returns the fields that an error names.
func fields(t *testing.T, err error) []string {
	t.Helper()
	var invalid fault.Invalid
	if !errors.As(err, &invalid) {
		t.Fatalf("error %v, want an Invalid", err)
	}
	var all []string
	for _, e := range invalid {
		if e.Accepted == "" || len(e.Value) > 60 {
			t.Errorf("%s: value %q, accepted %q; want a short value and what is accepted", e.Field, e.Value, e.Accepted)
		}
		all = append(all, e.Field)
	}
	return all
}

// Every refusal names the one field that is wrong.
func TestParseRefuses(t *testing.T) {
	delayed := func(change func(f *api.Fault)) api.Fault {
		f := api.Fault{Name: "a", Delay: "10ms"}
		change(&f)
		return f
	}
	lossy := func(l api.Loss) api.Fault { return api.Fault{Name: "a", Loss: &l} }
	rated := func(r api.Rate) api.Fault { return api.Fault{Name: "a", Rate: &r} }
	for name, c := range map[string]struct {
		in    api.Fault
		field string // or two
	}{
		"no name":               {api.Fault{Delay: "1ms"}, "name"},
		"a name in capitals":    {api.Fault{Name: "A", Delay: "1ms"}, "name"},
		"a name with a dash":    {api.Fault{Name: "a-", Delay: "1ms"}, "name"},
		"a name with a slash":   {api.Fault{Name: "a/b", Delay: "1ms"}, "name"},
		"a name with a newline": {api.Fault{Name: "a\n", Delay: "1ms"}, "name"},
		"a long name":           {api.Fault{Name: strings.Repeat("a", 64), Delay: "1ms"}, "name"},
		"nothing":               {api.Fault{Name: "a"}, "delay"},
		"no delay at all":       {api.Fault{Name: "a", Delay: "0"}, "delay"},

		"another direction": {delayed(func(f *api.Fault) { f.Direction = "in" }), "direction"},
		"another device":    {delayed(func(f *api.Fault) { f.Device = "eth2" }), "device"},
		"another protocol":  {delayed(func(f *api.Fault) { f.Protocol = "sctp" }), "protocol"},
		"ICMP with ports":   {delayed(func(f *api.Fault) { f.Protocol, f.Ports = "icmp", &api.Ports{Local: singlePorts(1)} }), "ports"},
		"no ports":          {delayed(func(f *api.Fault) { f.Ports = &api.Ports{} }), "ports"},
		"port 0":            {delayed(func(f *api.Fault) { f.Ports = &api.Ports{Remote: []api.PortRange{port(1, 1), port(0, 5)}} }), "ports.remote[1]"},
		"a range backwards": {delayed(func(f *api.Fault) { f.Ports = &api.Ports{Local: []api.PortRange{port(5, 4)}} }), "ports.local[0]"},
		"many ports":        {delayed(func(f *api.Fault) { f.Ports = &api.Ports{Local: singlePorts(17)} }), "ports.local"},
		"a peer by name":    {delayed(func(f *api.Fault) { f.Peers = []string{"10.0.0.1", "pd-0"} }), "peers[1]"},
		"an empty peer":     {delayed(func(f *api.Fault) { f.Peers = []string{""} }), "peers[0]"},
		"a long peer":       {delayed(func(f *api.Fault) { f.Peers = []string{strings.Repeat("1", 1<<20)} }), "peers[0]"},
		"many peers":        {delayed(func(f *api.Fault) { f.Peers = peers(513) }), "peers"},
		"many combinations": {delayed(func(f *api.Fault) { f.Peers, f.Ports = peers(501), &api.Ports{Remote: singlePorts(4)} }), "peers"},
		"ports on both sides": {delayed(func(f *api.Fault) {
			f.Peers, f.Ports = peers(8), &api.Ports{Local: singlePorts(16), Remote: singlePorts(16)}
		}), "peers"},

		"a delay without end":   {delayed(func(f *api.Fault) { f.Delay = "inf" }), "delay"},
		"a delay of an hour":    {delayed(func(f *api.Fault) { f.Delay = "1h" }), "delay"},
		"a delay below zero":    {delayed(func(f *api.Fault) { f.Delay = "-1ms" }), "delay"},
		"a delay beyond reason": {delayed(func(f *api.Fault) { f.Delay = strings.Repeat("9", 1<<20) }), "delay"},
		"another jitter":        {delayed(func(f *api.Fault) { f.Jitter = "5 ms" }), "jitter"},
		"more jitter":           {delayed(func(f *api.Fault) { f.Jitter = "11ms" }), "jitter"},
		"jitter alone":          {api.Fault{Name: "a", Jitter: "1ms"}, "jitter"},
		"too much jitter":       {delayed(func(f *api.Fault) { f.Delay, f.Jitter = "10s", "2.1s" }), "jitter"},
		"correlation alone":     {delayed(func(f *api.Fault) { f.Correlation = 5 }), "correlation"},
		"negative correlation":  {delayed(func(f *api.Fault) { f.Jitter, f.Correlation = "1ms", -1 }), "correlation"},
		"no correlation":        {delayed(func(f *api.Fault) { f.Jitter, f.Correlation = "1ms", math.NaN() }), "correlation"},
		"distribution alone":    {delayed(func(f *api.Fault) { f.Distribution = "normal" }), "distribution"},
		"another distribution":  {delayed(func(f *api.Fault) { f.Jitter, f.Distribution = "1ms", "gauss" }), "distribution"},

		"a loss of nothing":     {lossy(api.Loss{}), "loss"},
		"two models":            {lossy(api.Loss{Percent: 1, FourState: &api.FourState{P13: 1}}), "loss"},
		"two others":            {lossy(api.Loss{GilbertElliott: &api.GilbertElliott{ToBad: 1, LossInBad: 1}, FourState: &api.FourState{P13: 1}}), "loss"},
		"a model correlated":    {lossy(api.Loss{Correlation: 5, FourState: &api.FourState{P13: 1}}), "loss.percent loss"},
		"correlated nothing":    {lossy(api.Loss{Correlation: 5}), "loss.percent"},
		"negative loss":         {lossy(api.Loss{Percent: -1}), "loss.percent"},
		"more than all lost":    {lossy(api.Loss{Percent: 100.0001}), "loss.percent"},
		"a fine loss":           {lossy(api.Loss{Percent: 0.00001}), "loss.percent"},
		"a loss of almost none": {lossy(api.Loss{Percent: 1e-11}), "loss.percent"},
		"infinite loss":         {lossy(api.Loss{Percent: math.Inf(1)}), "loss.percent"},
		"a correlation of 101":  {lossy(api.Loss{Percent: 1, Correlation: 101}), "loss.correlation"},
		"never bad":             {lossy(api.Loss{GilbertElliott: &api.GilbertElliott{ToGood: 1, LossInBad: 1}}), "loss.gilbertElliott"},
		"never lost when bad":   {lossy(api.Loss{GilbertElliott: &api.GilbertElliott{ToBad: 1, ToGood: 1}}), "loss.gilbertElliott"},
		"too bad":               {lossy(api.Loss{GilbertElliott: &api.GilbertElliott{ToBad: 101, LossInBad: 1}}), "loss.gilbertElliott.toBad"},
		"bad by almost nothing": {lossy(api.Loss{GilbertElliott: &api.GilbertElliott{ToBad: 1e-11, LossInBad: 1}}), "loss.gilbertElliott.toBad"},
		"never out of 1":        {lossy(api.Loss{FourState: &api.FourState{P31: 1}}), "loss.fourState"},
		"out of 1 twice":        {lossy(api.Loss{FourState: &api.FourState{P13: 60, P14: 41}}), "loss.fourState.p13"},
		"out of 3 twice":        {lossy(api.Loss{FourState: &api.FourState{P13: 1, P31: 60, P32: 41}}), "loss.fourState.p31"},
		"p23 below zero":        {lossy(api.Loss{FourState: &api.FourState{P13: 1, P23: -1}}), "loss.fourState.p23"},

		"duplicates of nothing": {api.Fault{Name: "a", Duplicate: &api.Chance{Correlation: 1}}, "duplicate.percent"},
		"corrupts too much":     {api.Fault{Name: "a", Corrupt: &api.Chance{Percent: 101}}, "corrupt.percent"},
		"corrupts no number":    {api.Fault{Name: "a", Corrupt: &api.Chance{Percent: math.NaN()}}, "corrupt.percent"},
		"reorder alone":         {api.Fault{Name: "a", Reorder: &api.Reorder{Percent: 1}}, "reorder"},
		"reorders nothing":      {delayed(func(f *api.Fault) { f.Reorder = &api.Reorder{Gap: 5} }), "reorder.percent"},
		"a wide gap":            {delayed(func(f *api.Fault) { f.Reorder = &api.Reorder{Percent: 1, Gap: 1_000_001} }), "reorder.gap"},

		"a rate of nothing":      {rated(api.Rate{}), "rate.perSecond"},
		"a bare rate":            {rated(api.Rate{PerSecond: "1000000"}), "rate.perSecond"},
		"a slow rate":            {rated(api.Rate{PerSecond: "7999bit"}), "rate.perSecond"},
		"a fast rate":            {rated(api.Rate{PerSecond: "100.1gbit"}), "rate.perSecond"},
		"a large overhead":       {rated(api.Rate{PerSecond: "1mbit", PacketOverhead: 10_001}), "rate.packetOverhead"},
		"a negative overhead":    {rated(api.Rate{PerSecond: "1mbit", PacketOverhead: -10_001}), "rate.packetOverhead"},
		"a large cell":           {rated(api.Rate{PerSecond: "1mbit", CellSize: 10_001}), "rate.cellSize"},
		"an overhead of no cell": {rated(api.Rate{PerSecond: "1mbit", CellOverhead: 5}), "rate.cellOverhead"},

		"a partition of what is late": {delayed(func(f *api.Fault) { f.Partition = true }), "partition"},
		"a partition of a link":       {api.Fault{Name: "a", Partition: true, Rate: &api.Rate{PerSecond: "1mbit"}}, "partition"},
		"a lossy partition":           {api.Fault{Name: "a", Partition: true, Loss: &api.Loss{Percent: 1}}, "partition"},
		"a seeded partition":          {api.Fault{Name: "a", Partition: true, Seed: new(uint64(1))}, "seed"},
		"a seed of nothing random":    {delayed(func(f *api.Fault) { f.Seed = new(uint64(1)) }), "seed"},
		"a seed beyond JSON":          {lossySeed(1 << 53), "seed"},

		"two ends":              {delayed(func(f *api.Fault) { f.Duration, f.ExpiresAt = "1m", "2030-02-01T12:00:00Z" }), "duration"},
		"a duration of nothing": {delayed(func(f *api.Fault) { f.Duration = "0s" }), "duration"},
		"a short duration":      {delayed(func(f *api.Fault) { f.Duration = "999ms" }), "duration"},
		"a bare duration":       {delayed(func(f *api.Fault) { f.Duration = "90" }), "duration"},
		"a negative duration":   {delayed(func(f *api.Fault) { f.Duration = "-1h" }), "duration"},
		"a long duration":       {delayed(func(f *api.Fault) { f.Duration = "721h" }), "duration"},
		"no time":               {delayed(func(f *api.Fault) { f.ExpiresAt = "tomorrow" }), "expiresAt"},
		"a time without zone":   {delayed(func(f *api.Fault) { f.ExpiresAt = "2030-02-01T12:00:00" }), "expiresAt"},
		"a time in the past":    {delayed(func(f *api.Fault) { f.ExpiresAt = "2030-01-31T11:59:59Z" }), "expiresAt"},
		"now":                   {delayed(func(f *api.Fault) { f.ExpiresAt = "2030-01-31T12:00:00Z" }), "expiresAt"},
		"a far time":            {delayed(func(f *api.Fault) { f.ExpiresAt = "2030-03-31T12:00:00Z" }), "expiresAt"},
		"the year one":          {delayed(func(f *api.Fault) { f.ExpiresAt = "0001-01-01T00:00:00Z" }), "expiresAt"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := fault.Parse(c.in, limits())
			if err == nil {
				t.Fatalf("accepted as %+v", got)
			}
			if diff := cmp.Diff(strings.Fields(c.field), fields(t, err)); diff != "" {
				t.Errorf("fields (-want +got):\n%s\n%v", diff, err)
			}
		})
	}
}

func lossySeed(seed uint64) api.Fault {
	return api.Fault{Name: "a", Loss: &api.Loss{Percent: 1}, Seed: &seed}
}

func TestParseAccepts(t *testing.T) {
	for name, in := range map[string]api.Fault{
		"one letter":            {Name: "a", Delay: "1us"},
		"a long name":           {Name: strings.Repeat("a", 63), Delay: "600s"},
		"dots and dashes":       {Name: "0.a--b.9", Partition: true},
		"512 peers":             {Name: "a", Delay: "1ms", Peers: peers(512)},
		"4000 combinations":     {Name: "a", Delay: "1ms", Peers: peers(500), Ports: &api.Ports{Remote: singlePorts(4)}},
		"16 ports on each side": {Name: "a", Delay: "1ms", Ports: &api.Ports{Local: singlePorts(16), Remote: singlePorts(8)}},
		"jitter as the delay":   {Name: "a", Delay: "2s", Jitter: "2s", Distribution: "paretonormal", Correlation: 100},
		"loss of all":           {Name: "a", Loss: &api.Loss{Percent: 100, Correlation: 100}},
		"the least loss":        {Name: "a", Loss: &api.Loss{Percent: 0.0001}},
		"loss in good times":    {Name: "a", Loss: &api.Loss{GilbertElliott: &api.GilbertElliott{LossInGood: 1}}},
		"single losses":         {Name: "a", Loss: &api.Loss{FourState: &api.FourState{P14: 100}}},
		"sums of 100":           {Name: "a", Loss: &api.Loss{FourState: &api.FourState{P13: 33.3333, P14: 66.6667, P31: 0.1, P32: 99.9}}},
		"the largest seed":      lossySeed(1<<53 - 1),
		"seed 0":                lossySeed(0),
		"negative overheads":    {Name: "a", Rate: &api.Rate{PerSecond: "8kbit", PacketOverhead: -10_000, CellSize: 10_000, CellOverhead: -10_000}},
		"thirty days":           {Name: "a", Delay: "1ms", Duration: "720h"},
		"a second":              {Name: "a", Delay: "1ms", Duration: "1s"},
		"another zone":          {Name: "a", Delay: "1ms", ExpiresAt: "2030-01-31T14:00:00.5+02:00"},
		"ICMP":                  {Name: "a", Delay: "1ms", Protocol: "icmp", Device: "eth1", Direction: "both"},
	} {
		if _, err := fault.Parse(in, limits()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseReportsEverythingAtOnce(t *testing.T) {
	_, err := fault.ParseSet([]api.Fault{
		{Name: "A", Direction: "up", Device: "lo", Protocol: "gre", Peers: []string{"x"}, Delay: "1m", Loss: &api.Loss{Percent: 200}, Duration: "soon"},
		{Name: "b", Seed: new(uint64(1)), Delay: "1ms"},
		{Name: "c"},
		{Name: "b", Rate: &api.Rate{PerSecond: "fast", CellOverhead: 1}},
	}, limits())
	got := fields(t, err)
	slices.Sort(got)
	want := []string{
		"faults[0].delay", "faults[0].device", "faults[0].direction", "faults[0].duration", "faults[0].loss.percent",
		"faults[0].name", "faults[0].peers[0]", "faults[0].protocol", "faults[1].seed", "faults[2].delay",
		"faults[3].name", "faults[3].rate.cellOverhead", "faults[3].rate.perSecond",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	if text := err.Error(); !strings.Contains(text, "and 10 more") {
		t.Errorf("error %q, want the first three and how many more", text)
	}
}

// What depends on a bad value is not complained about: the user would mend
// what is right.
func TestParseBlamesNoFieldForAnother(t *testing.T) {
	for field, in := range map[string]api.Fault{
		"delay":        {Name: "a", Delay: "20m", Jitter: "5ms", Reorder: &api.Reorder{Percent: 1}},
		"jitter":       {Name: "a", Delay: "20ms", Jitter: "5m", Correlation: 25, Distribution: "normal"},
		"peers[0]":     {Name: "a", Peers: []string{"x"}, Delay: "20ms"},
		"loss.percent": {Name: "a", Loss: &api.Loss{Percent: 101}, Seed: new(uint64(1))},
	} {
		_, err := fault.Parse(in, limits())
		if diff := cmp.Diff([]string{field}, fields(t, err)); diff != "" {
			t.Errorf("fields (-want +got):\n%s\n%v", diff, err)
		}
	}
}
