//go:build linux

package nfqueue

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

// The rules of a layout are the same, whatever was in the cache before.
func TestTheCacheChangesNoRule(t *testing.T) {
	plain := plainDelay(time.Second)
	slower := plainDelay(2 * time.Second)
	cut := plain
	cut.Impairment = fault.Impairment{Partition: true}
	narrow := plain
	narrow.Match.Peers = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	both := narrow
	both.Name, both.Match.Direction = "both", fault.Both
	inTheWay := obstacles{ipv4: {"a firewall"}}
	layouts := []layout{
		{faults: []fault.Fault{plain}},
		{faults: []fault.Fault{slower}},
		{faults: []fault.Fault{cut}},
		{faults: []fault.Fault{narrow}},
		{faults: []fault.Fault{both, plain}},
		{faults: []fault.Fault{plain}, obstacles: inTheWay},
		{faults: []fault.Fault{both, cut}, obstacles: inTheWay},
	}
	policies := []policy{testPolicy("eth0"), testPolicy("eth1"), testPolicy("eth0", "eth1")}
	rulesOf := func(e *Engine, p policy, l layout) tables {
		t.Helper()
		e.policy = p
		l.slots = make(slots).assign(l.faults)
		all, err := e.tables(l)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	newEngine := func() *Engine { return &Engine{families: []family{ipv4, ipv6}, chains: newChainCache()} }
	used := newEngine()
	for i, p := range policies {
		for j, before := range layouts {
			for k, l := range layouts {
				rulesOf(used, p, before)
				if got, want := rulesOf(used, p, l), rulesOf(newEngine(), p, l); !reflect.DeepEqual(got, want) {
					t.Errorf("policy %d: layout %d after %d has other rules", i, k, j)
				}
			}
		}
	}
}
