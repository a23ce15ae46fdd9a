package fault_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// generator makes valid faults of every kind.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator { return generator{rand.New(rand.NewPCG(seed, 0))} }

// sometimes is true two times of five.
func (g generator) sometimes() bool { return g.IntN(5) < 2 }

func one[T any](g generator, of ...T) T { return of[g.IntN(len(of))] }

// percent is from least to most ten-thousandths of a percent.
func (g generator) percent(least, most int) float64 {
	return float64(least+g.IntN(most-least+1)) / 10_000
}

func (g generator) positive() float64 { return g.percent(1, 1_000_000) }

func (g generator) any() float64 { return g.percent(0, 1_000_000) }

func (g generator) peer() string {
	switch g.IntN(4) {
	case 0:
		return fmt.Sprintf("10.%d.%d.%d", g.IntN(4), g.IntN(4), g.IntN(4))
	case 1:
		return fmt.Sprintf("10.%d.%d.%d/%d", g.IntN(4), g.IntN(4), g.IntN(4), g.IntN(33))
	case 2:
		return fmt.Sprintf("fd00::%x", g.IntN(16))
	default:
		return fmt.Sprintf("fd00::%x/%d", g.IntN(16), g.IntN(129))
	}
}

func (g generator) ports() []api.PortRange {
	var all []api.PortRange
	for range g.IntN(3) {
		first := 1 + g.IntN(20)
		all = append(all, port(uint16(first), uint16(first+g.IntN(10)*g.IntN(2))))
	}
	return all
}

func (g generator) match(f *api.Fault) {
	f.Direction = one(g, "", "egress", "ingress", "both")
	f.Device = one(g, "", "", "eth0", "eth1")
	f.Protocol = one(g, "", "tcp", "udp", "icmp")
	for range g.IntN(4) {
		f.Peers = append(f.Peers, g.peer())
	}
	if ports := (api.Ports{Local: g.ports(), Remote: g.ports()}); f.Protocol != "icmp" && len(ports.Local)+len(ports.Remote) > 0 {
		f.Ports = &ports
	}
}

func (g generator) loss() *api.Loss {
	switch g.IntN(3) {
	case 0:
		return &api.Loss{Percent: g.positive(), Correlation: g.any()}
	case 1:
		return &api.Loss{GilbertElliott: &api.GilbertElliott{ToBad: g.positive(), ToGood: g.any(), LossInBad: g.positive(), LossInGood: g.any()}}
	default:
		half := func() float64 { return g.percent(1, 500_000) }
		return &api.Loss{FourState: &api.FourState{P13: half(), P31: half(), P32: half(), P23: g.any(), P14: half()}}
	}
}

func (g generator) impairment(f *api.Fault) {
	if g.IntN(8) == 0 {
		f.Partition = true
		return
	}
	nanoseconds := time.Duration(1_000 + g.Int64N(int64(one(g, time.Millisecond, time.Second, fault.MaxDelay-time.Microsecond))))
	f.Delay = fault.FormatDelay(nanoseconds)
	if jitter := min(nanoseconds, fault.MaxJitter); g.sometimes() {
		f.Jitter = fault.FormatDelay(time.Microsecond + time.Duration(g.Int64N(int64(jitter-time.Microsecond)+1)))
		f.Correlation = g.any()
		f.Distribution = one(g, "", "uniform", "normal", "pareto", "paretonormal")
	}
	if g.sometimes() {
		f.Reorder = &api.Reorder{Percent: g.positive(), Correlation: g.any(), Gap: uint32(g.IntN(10))}
	}
	if g.sometimes() {
		f.Loss = g.loss()
	}
	if g.sometimes() {
		f.Duplicate = &api.Chance{Percent: g.positive(), Correlation: g.any()}
	}
	if g.sometimes() {
		f.Corrupt = &api.Chance{Percent: g.positive(), Correlation: g.any()}
	}
	if g.sometimes() {
		f.Rate = &api.Rate{PerSecond: fault.FormatRate(fault.MinRate + g.Uint64N(fault.MaxRate-fault.MinRate)), PacketOverhead: int32(g.IntN(100) - 50)}
		if g.sometimes() {
			f.Rate.CellSize, f.Rate.CellOverhead = uint32(1+g.IntN(100)), int32(g.IntN(20)-10)
		}
	}
	if random := f.Jitter != "" || f.Loss != nil || f.Duplicate != nil || f.Corrupt != nil || f.Reorder != nil; random && g.sometimes() {
		f.Seed = new(g.Uint64N(1 << 53))
	}
}

// fault returns a valid fault, on the wire.
func (g generator) fault(name string) api.Fault {
	f := api.Fault{Name: name, Owner: one(g, "", "", "shop.slow-stores")}
	g.match(&f)
	g.impairment(&f)
	switch g.IntN(3) {
	case 0:
		f.Duration = one(g, "1s", "90s", "10m", "1h30m", "720h")
	case 1:
		f.ExpiresAt = noon.Add(time.Duration(1 + g.Int64N(int64(fault.MaxDuration)))).In(time.FixedZone("", 3600)).Format(time.RFC3339Nano)
	}
	return f
}

// Parse of Wire is the identity, and so is JSON in between.
func TestWireRoundTrip(t *testing.T) {
	g := newGenerator(1)
	stored := limits()
	stored.Stored = true
	for range 5_000 {
		in := g.fault("a")
		parsed, err := fault.Parse(in, limits())
		if err != nil {
			t.Fatalf("%+v: %v", in, err)
		}
		wire := parsed.Wire()
		content, err := json.Marshal(wire)
		if err != nil {
			t.Fatal(err)
		}
		var read api.Fault
		if err := json.Unmarshal(content, &read); err != nil {
			t.Fatalf("%s: %v", content, err)
		}
		again, err := fault.Parse(read, stored)
		if err != nil {
			t.Fatalf("%s: %v", content, err)
		}
		if !same(again, parsed) || !parsed.SameEffect(again) {
			t.Fatalf("%s (-first +again):\n%s", content, cmp.Diff(wire, again.Wire()))
		}
		if diff := cmp.Diff(wire, again.Wire()); diff != "" {
			t.Fatalf("written again (-first +again):\n%s", diff)
		}
	}
}

func TestEqual(t *testing.T) {
	parse := func(f api.Fault) fault.Fault {
		got, err := fault.Parse(f, limits())
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	base := api.Fault{Name: "a", Peers: []string{"10.0.0.1", "10.0.0.2"}, Delay: "1ms", ExpiresAt: "2030-01-31T13:00:00Z", Loss: &api.Loss{Percent: 1}, Seed: new(uint64(1))}
	for name, c := range map[string]struct {
		change       func(f *api.Fault)
		same, effect bool
	}{
		"itself":        {func(*api.Fault) {}, true, true},
		"another order": {func(f *api.Fault) { f.Peers = []string{"10.0.0.2", "10.0.0.1"} }, true, true},
		"another unit":  {func(f *api.Fault) { f.Delay = "1000us" }, true, true},
		"another zone":  {func(f *api.Fault) { f.ExpiresAt = "2030-01-31T15:00:00+02:00" }, true, true},
		"another end":   {func(f *api.Fault) { f.ExpiresAt = "2030-01-31T13:00:01Z" }, false, true},
		"another owner": {func(f *api.Fault) { f.Owner = "shop.b" }, false, true},
		"another seed":  {func(f *api.Fault) { f.Seed = new(uint64(2)) }, false, false},
		"another loss":  {func(f *api.Fault) { f.Loss = &api.Loss{Percent: 2} }, false, false},
		"fewer peers":   {func(f *api.Fault) { f.Peers = f.Peers[:1] }, false, false},
		"another name":  {func(f *api.Fault) { f.Name = "b" }, false, false},
	} {
		other := base
		c.change(&other)
		f, g := parse(base), parse(other)
		if same(f, g) != c.same || same(g, f) != c.same || f.SameEffect(g) != c.effect || g.SameEffect(f) != c.effect {
			t.Errorf("%s: equal %t, same effect %t; want %t, %t", name, same(f, g), f.SameEffect(g), c.same, c.effect)
		}
	}
}

func TestWireSetOfNoneIsAList(t *testing.T) {
	if content, err := json.Marshal(fault.WireSet(nil)); err != nil || string(content) != "[]" {
		t.Errorf("no faults are written %s, %v", content, err)
	}
}

// Whatever a client sends is refused, or is a set that is the same after it
// was stored and read.
func FuzzFaultJSON(f *testing.F) {
	g := newGenerator(2)
	for i := range 10 {
		content, err := json.Marshal(api.FaultSet{Faults: []api.Fault{g.fault("a"), g.fault(fmt.Sprint("b", i))}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	for _, seed := range []string{
		``, `{}`, `{"faults":null}`, `{"faults":[null]}`, `{"faults":[{"name":"a","ports":{"remote":[1,"2-3",""]}}]}`,
		`{"faults":[{"name":"a","loss":{"percent":1e-11}}]}`, `{"faults":[{"name":"a","delay":"1ms","correlation":1e-11,"jitter":"1us"}]}`,
		`{"faults":[{"name":"a","partition":true,"expiresAt":"0001-01-01T00:00:00Z"}]}`, `{"faults":[{"name":"a","rate":{"perSecond":"8.0079kbit"}}]}`,
	} {
		f.Add([]byte(seed))
	}
	stored := limits()
	stored.Stored = true
	f.Fuzz(func(t *testing.T, content []byte) {
		var in api.FaultSet
		if json.Unmarshal(content, &in) != nil {
			return
		}
		first, err := fault.ParseSet(in.Faults, limits())
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without words")
			}
			return
		}
		written, err := json.Marshal(api.FaultSet{Faults: fault.WireSet(first)})
		if err != nil {
			t.Fatal(err)
		}
		var out api.FaultSet
		if err := json.Unmarshal(written, &out); err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		again, err := fault.ParseSet(out.Faults, stored)
		if err != nil {
			t.Fatalf("%s was accepted and is refused as %s: %v", content, written, err)
		}
		for i := range first {
			if !same(first[i], again[i]) {
				t.Fatalf("%s (-first +again):\n%s", content, cmp.Diff(first[i].Wire(), again[i].Wire()))
			}
		}
	})
}

// same reports whether two faults are the same in every respect.
func same(f, g fault.Fault) bool {
	return f.ExpiresAt.Equal(g.ExpiresAt) && f.Owner == g.Owner && f.SameEffect(g)
}
