package verify_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

// What is not measured while other pairs are is said: which components and zones, or which pod.
func TestWhatIsNotMeasured(t *testing.T) {
	all := pods()
	for i := range all {
		all[i].Zone = string(rune('a' + i%2))
	}
	compiled(t, all, rtt("slow", "tikv-0", "pd-0", 50*time.Millisecond), rtt("fast", "pd-0", "tidb-0", 100*time.Microsecond))
	for name, want := range map[string]verify.Unseen{
		"slow": {},
		"fast": {Why: "a handshake shows delays of 1ms and more, and partitions", NoPair: true},
	} {
		if got := verify.New(all).Unseen[name]; got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	both := compile.Object{Name: "both", From: named("pd-0"), To: named("t"), RoundTrip: true, Impairment: fault.Impairment{Delay: 500 * time.Microsecond}}
	compiled(t, all, both, rtt("more", "pd-0", "tikv-0", 10*time.Millisecond))
	want := verify.Unseen{Why: "between pd in zone a and tidb in zone a: a handshake shows delays of 1ms and more, and partitions"}
	if got := verify.New(all).Unseen["both"]; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Of several reasons the one is said that explains most, whatever its words: why no pair shows
// the delay of an object before what no counter shows of it, and that before a lack of room.
func TestWhatExplainsMost(t *testing.T) {
	const slow, long, outside = 50 * time.Millisecond, 10 * time.Second, "it is for addresses outside the pods"
	twice, range4 := &fault.Chance{Percent: fault.Hundred / 100}, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for name, test := range map[string]struct {
		cidrs      []netip.Prefix
		impairment fault.Impairment
		want       string
		noPair     bool
	}{
		"too long":                     {nil, fault.Impairment{Delay: long}, "round trips of more than 6s are not measured", true},
		"too long, and uncounted":      {nil, fault.Impairment{Delay: long, Duplicate: twice}, "round trips of more than 6s are not measured", true},
		"too long, and outside":        {range4, fault.Impairment{Delay: long, Duplicate: twice}, "round trips of more than 6s are not measured", true},
		"slow, and uncounted":          {nil, fault.Impairment{Delay: slow, Duplicate: twice}, "nothing counts what is duplicated", false},
		"slow, and outside":            {range4, fault.Impairment{Delay: slow}, outside, false},
		"slow, outside, and uncounted": {range4, fault.Impairment{Delay: slow, Duplicate: twice}, outside, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := compile.Object{Name: "slow", From: named("tikv-0"), To: named("pd-0"), CIDRs: test.cidrs, RoundTrip: true, Impairment: test.impairment}
			all := pods()
			compiled(t, all, o)
			if got := verify.New(all).Unseen["slow"]; !strings.HasPrefix(got.Why, test.want) || got.NoPair != test.noPair {
				t.Errorf("%+v, want %q, no pair: %t", got, test.want, test.noPair)
			}
		})
	}
}

// That no counter shows something does not explain why no pair shows the delay.
func TestWhyNoPairShowsIt(t *testing.T) {
	all := pods()
	for i := range all {
		if all[i].Name != "tikv-0" {
			all[i].Agent = verify.NoAgent
		}
	}
	var objects []compile.Object
	slow := func(to string) {
		o := rtt(fmt.Sprintf("slow-%02d", len(objects)), "tikv-0", to, 50*time.Millisecond)
		o.OneWay, o.RoundTrip = true, false // one fault of the pod for each
		port := uint16(3000 + len(objects))
		o.Ports, o.Impairment.Duplicate = []api.PortRange{{First: port, Last: port}}, &fault.Chance{Percent: fault.Hundred / 100}
		objects = append(objects, o)
	}
	for _, p := range all {
		if p.Name != "tikv-0" {
			slow(p.Name)
		}
	}
	for range 4 {
		slow("")
	}
	compiled(t, all, objects...)
	without := 0
	for name, got := range verify.New(all).Unseen {
		if got.NoPair {
			without++
		}
		if isRoom := got.Why == "the agents of its pods have enough to measure"; isRoom != got.NoPair {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// Each of the 7 pods has five objects: one of its own, which is the first, and four of all pods.
	if without != 3 {
		t.Errorf("no pair of %d objects, want 3", without)
	}
}
