package agent

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/fault"
)

type probe = func() (map[fault.Feature]string, error)

func TestChoose(t *testing.T) {
	works := func() (map[fault.Feature]string, error) { return map[fault.Feature]string{}, nil }
	missing := func() (map[fault.Feature]string, error) { return nil, errors.New("kernel has no sch_netem") }
	for name, c := range map[string]struct {
		want            string
		netem, nfqueue  probe
		engine, because string
	}{
		"auto takes the first that works":        {api.EngineAuto, works, works, api.EngineNetem, "works"},
		"auto falls back and says why":           {api.EngineAuto, missing, works, api.EngineNFQueue, "no sch_netem"},
		"auto without any":                       {api.EngineAuto, missing, missing, api.EngineNone, "no engine works"},
		"a named engine":                         {api.EngineNFQueue, works, works, api.EngineNFQueue, "--engine=nfqueue"},
		"a named engine is never replaced":       {api.EngineNetem, missing, works, api.EngineNone, "no sch_netem"},
		"a named engine whose other half is bad": {api.EngineNFQueue, missing, works, api.EngineNFQueue, "--engine=nfqueue"},
	} {
		t.Run(name, func(t *testing.T) {
			left := []fault.Fault{{Name: fault.Latency, Match: fault.Match{Direction: fault.Egress}, Impairment: fault.Impairment{Delay: 1}}}
			engines := map[string]*enginetest.Engine{
				api.EngineNetem: enginetest.New(enginetest.Kernel{Faults: left}), api.EngineNFQueue: enginetest.New(enginetest.Kernel{Faults: left}),
			}
			open := func(name string) func(map[fault.Feature]string) (engine, error) {
				return func(map[fault.Feature]string) (engine, error) { return engines[name], nil }
			}
			got := choose(c.want, []candidate{
				{api.EngineNetem, c.netem, open(api.EngineNetem)},
				{api.EngineNFQueue, c.nfqueue, open(api.EngineNFQueue)},
			})
			if got.name != c.engine || !strings.Contains(got.reason, c.because) {
				t.Errorf("chose %s because %q, want %s because of %q", got.name, got.reason, c.engine, c.because)
			}
			// What any other engine left is cleared, also when it does not work
			// here any more; when none works, that goes for both.
			for name, e := range engines {
				if cleared := e.Applied == 1 && len(e.Faults) == 0; cleared != (name != got.name) {
					t.Errorf("%s: applied %d times, holds %+v", name, e.Applied, e.Faults)
				}
			}
		})
	}
}

func TestChooseSkipsAnEngineThatDoesNotOpen(t *testing.T) {
	works := func() (map[fault.Feature]string, error) {
		return map[fault.Feature]string{fault.FeatureSeed: "too old"}, nil
	}
	second := &enginetest.Engine{}
	got := choose(api.EngineAuto, []candidate{
		{api.EngineNetem, works, func(map[fault.Feature]string) (engine, error) { return nil, errors.New("no luck") }},
		{api.EngineNFQueue, works, func(map[fault.Feature]string) (engine, error) { return second, nil }},
	})
	if got.name != api.EngineNFQueue || !strings.Contains(got.reason, "no luck") {
		t.Errorf("chose %s because %q", got.name, got.reason)
	}
	if lacks := got.capabilities[api.EngineNFQueue].Lacks; lacks["seed"] != "too old" {
		t.Errorf("capabilities don't say what is lacking: %+v", got.capabilities)
	}
}

// On the node's network no engine is even tried.
func TestNothingIsTriedOnTheNodesNetwork(t *testing.T) {
	node, pod := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.0.0.7")
	node6 := netip.MustParseAddr("2001:db8::1")
	for name, c := range map[string]struct {
		node, own []netip.Addr
		err       error
		refused   bool
	}{
		"in a pod":                {node: []netip.Addr{node, node6}, own: []netip.Addr{pod}},
		"on the node":             {node: []netip.Addr{node}, own: []netip.Addr{netip.MustParseAddr("127.0.0.1"), node}, refused: true},
		"on the node by IPv6":     {node: []netip.Addr{node, node6}, own: []netip.Addr{node6}, refused: true},
		"the node is not known":   {own: []netip.Addr{node}},
		"addresses can't be read": {node: []netip.Addr{node}, err: errors.New("no memory"), refused: true},
	} {
		tried := false
		got := chooseInPod(c.node, func() ([]netip.Addr, error) { return c.own, c.err }, func() choice {
			tried = true
			return choice{name: "some"}
		})
		if tried == c.refused || (got.name == api.EngineNone) != c.refused || c.refused && !strings.Contains(got.reason, "node's network") {
			t.Errorf("%s: tried %t, %+v", name, tried, got)
		}
	}
}
