package fault_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

func parseSet(t *testing.T, all ...api.Fault) []fault.Fault {
	t.Helper()
	got, err := fault.ParseSet(all, limits())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestFeatures(t *testing.T) {
	chance := &api.Chance{Percent: 1}
	beside := api.Fault{Name: "z", Peers: []string{"10.0.0.1"}, Delay: "1ms"}
	for name, c := range map[string]struct {
		in   []api.Fault
		want []fault.Feature
	}{
		"nothing":            {nil, nil},
		"a delay":            {[]api.Fault{{Name: "a", Delay: "1ms", Loss: &api.Loss{Percent: 1}, Reorder: &api.Reorder{Percent: 1}}}, nil},
		"ingress":            {[]api.Fault{{Name: "a", Delay: "1ms", Direction: "ingress"}}, []fault.Feature{fault.FeatureIngress}},
		"both directions":    {[]api.Fault{{Name: "a", Partition: true, Direction: "both"}}, []fault.Feature{fault.FeatureIngress}},
		"duplicates":         {[]api.Fault{{Name: "a", Duplicate: chance}}, []fault.Feature{fault.FeatureDuplicate}},
		"duplicates, beside": {[]api.Fault{{Name: "a", Duplicate: chance}, beside}, []fault.Feature{fault.FeatureDuplicate, fault.FeatureDuplicateBeside}},
		"corruption":         {[]api.Fault{{Name: "a", Corrupt: chance}}, []fault.Feature{fault.FeatureCorrupt}},
		"a seed":             {[]api.Fault{lossySeed(0)}, []fault.Feature{fault.FeatureSeed}},
		"a rate":             {[]api.Fault{{Name: "a", Rate: &api.Rate{PerSecond: "1mbit"}}}, []fault.Feature{fault.FeatureRate}},
	} {
		faults := parseSet(t, c.in...)
		got := fault.Features(faults)
		if diff := cmp.Diff(c.want, slices.Sorted(maps.Keys(got))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if err := fault.Check(faults, nil); err != nil {
			t.Errorf("%s: an engine that lacks nothing: %v", name, err)
		}
		for _, feature := range c.want {
			err := fault.Check(faults, map[fault.Feature]string{feature: "old kernel"})
			if !errors.Is(err, fault.ErrUnsupported) || !strings.Contains(err.Error(), string(feature)) || !strings.Contains(err.Error(), "old kernel") || !strings.Contains(err.Error(), `"a"`) {
				t.Errorf("%s without %s: %v; want the fault, the feature and why", name, feature, err)
			}
		}
	}
}

// The same request gets the same answer.
func TestMessagesDoNotDependOnChance(t *testing.T) {
	faults := parseSet(t, api.Fault{Name: "a", Direction: "both", Rate: &api.Rate{PerSecond: "1mbit"}, Loss: &api.Loss{Percent: 1}, Corrupt: &api.Chance{Percent: 1}, Seed: new(uint64(1))})
	lacks := map[fault.Feature]string{fault.FeatureIngress: "x", fault.FeatureRate: "x", fault.FeatureSeed: "x", fault.FeatureCorrupt: "x"}
	both := []api.Fault{
		{Name: "a", Delay: "1ms", Ports: &api.Ports{Local: singlePorts(1), Remote: singlePorts(1)}},
		{Name: "b", Delay: "2ms", Ports: &api.Ports{Local: singlePorts(1), Remote: singlePorts(1)}},
	}
	_, conflict := fault.ParseSet(both, limits())
	unsupported := fault.Check(faults, lacks)
	if conflict == nil || unsupported == nil {
		t.Fatalf("conflict %v, unsupported %v", conflict, unsupported)
	}
	for range 50 {
		if _, again := fault.ParseSet(both, limits()); again.Error() != conflict.Error() {
			t.Fatalf("once %q, once %q", conflict, again)
		}
		if again := fault.Check(faults, lacks); again.Error() != unsupported.Error() {
			t.Fatalf("once %q, once %q", unsupported, again)
		}
	}
}
