package compile

import "testing"

func TestOf(t *testing.T) {
	ground := TopologyKey("ground")
	for want, objects := range map[string][]string{
		"NetworkFault a":                                               {"a"},
		"NetworkFaults a and b together":                               {"a", "b"},
		"NetworkFaults c, a and b together":                            {"c", "a", "b"},
		"NetworkTopology ground":                                       {ground},
		"NetworkTopology ground and NetworkFault a together":           {ground, "a"},
		"NetworkTopology ground and NetworkFault b together":           {"b", ground},
		"NetworkTopology ground and NetworkFaults a and b together":    {"a", ground, "b"},
		"NetworkTopology ground and NetworkFaults a, b and c together": {"a", "b", "c", ground},
	} {
		if got := (Fault{Objects: objects}).Of(); got != want {
			t.Errorf("%q: %q, want %q", objects, got, want)
		}
	}
}

func TestTopologyKey(t *testing.T) {
	if name, is := CutTopologyKey(TopologyKey("ground")); name != "ground" || !is {
		t.Errorf("%q, %t", name, is)
	}
	if name, is := CutTopologyKey("topology.a"); name != "topology.a" || is {
		t.Errorf("%q, %t", name, is)
	}
}
