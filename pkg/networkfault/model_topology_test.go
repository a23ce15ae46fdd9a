package networkfault

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

func (m *model) topologies() []v1alpha1.NetworkTopology {
	var list v1alpha1.NetworkTopologyList
	if err := m.List(context.Background(), &list, client.InNamespace(basic.Namespace)); err != nil {
		m.t.Fatal(err)
	}
	return list.Items
}

func (m *model) onTopology(r *rapid.T, f func(*v1alpha1.NetworkTopology)) {
	if all := m.topologies(); len(all) > 0 {
		f(&all[rapid.IntRange(0, len(all)-1).Draw(r, "topology")])
	}
}

// createTopology creates a topology of two zones, a and b.
func (m *model) createTopology(r *rapid.T) {
	if len(m.topologies()) > 1 {
		return
	}
	m.names++
	zones := rapid.SampledFrom([]string{
		`"spread": 2`, `"zones": [{"name": "a", "members": ["pd", "tidb(0)"]}, {"name": "b", "members": ["tikv(0)", "pod/basic-tikv-1"]}]`,
	}).Draw(r, "zones")
	life := rapid.SampledFrom([]string{`"untilDeleted": true`, `"duration": "30s"`, `"duration": "10m"`}).Draw(r, "life")
	m.topology(fmt.Sprintf("t%d", m.names), fmt.Sprintf(`{%s, %s, "links": [{"between": ["a", "b"], "rtt": "20ms"}], "defaults": {"sameZone": "1ms"}}`, zones, life))
}

func editLink(r *rapid.T, spec *v1alpha1.NetworkTopologySpec) {
	rtts := rapid.SampledFrom([]v1alpha1.RoundTrip{"1ms", "7us", "30ms"})
	spec.Links = []v1alpha1.Link{{Between: []v1alpha1.ZoneName{"a", "b"}, RTT: rtts.Draw(r, "a to b")}}
	if rapid.Bool().Draw(r, "each way its own") {
		spec.Links = append(spec.Links, v1alpha1.Link{Between: []v1alpha1.ZoneName{"b", "a"}, RTT: rtts.Draw(r, "b to a")})
	}
}

// movePod moves the TiDB of a list to the other zone.
func movePod(_ *rapid.T, spec *v1alpha1.NetworkTopologySpec) {
	if len(spec.Zones) == 0 {
		return
	}
	i := slices.IndexFunc(spec.Zones, func(z v1alpha1.Zone) bool { return slices.Contains(z.Members, "tidb(0)") })
	from, to := &spec.Zones[i], &spec.Zones[1-i]
	from.Members = slices.DeleteFunc(from.Members, func(s v1alpha1.Selector) bool { return s == "tidb(0)" })
	to.Members = append(to.Members, "tidb(0)")
}

func pause(_ *rapid.T, spec *v1alpha1.NetworkTopologySpec) { spec.Paused = !spec.Paused }

// checkTopologies checks that one topology is in force, unless something says why not.
func (m *model) checkTopologies(r *rapid.T, topologies []v1alpha1.NetworkTopology) {
	running := 0
	for _, t := range topologies {
		if t.Status.Phase == v1alpha1.Running {
			running++
		}
	}
	for _, t := range topologies {
		s := &t.Status
		isOther := s.Phase == v1alpha1.Pending && s.Reason == decide.ReasonAnotherTopology && running == 1
		isPaused := s.Phase == v1alpha1.Paused && t.Spec.Paused
		isRefused := s.Phase == v1alpha1.Refused && (s.Reason == decide.ReasonProtected || s.Reason == decide.ReasonAgentRefused)
		isRunning := s.Phase == v1alpha1.Running && s.Reason == decide.ReasonApplied && (s.ExpiresAt == nil || s.ExpiresAt.After(time.Now()))
		if s.ObservedGeneration != t.Generation || running > 1 || !isOther && !isPaused && !isRefused && !isRunning && s.Phase != v1alpha1.Ended {
			m.fatalf(r, "%s of %d that run is of generation %d and %+v", t.Name, running, t.Generation, s)
		}
	}
}

// askedByZones returns what is added to packets from a pod to another by the topology that
// runs, by what its spec says.
func askedByZones(topologies []v1alpha1.NetworkTopology, from, to string) time.Duration {
	for _, t := range topologies {
		a, b := zoneIn(&t.Spec, from), zoneIn(&t.Spec, to)
		if t.Status.Phase != v1alpha1.Running || a == "" || b == "" {
			continue
		}
		rtt, isFirst := t.Spec.Defaults.SameZone, from < to
		if a != b {
			isFirst = a < b
			rtt = t.Spec.Links[0].RTT
			if len(t.Spec.Links) > 1 && a == "b" {
				rtt = t.Spec.Links[1].RTT
			}
		}
		return halfOf(string(rtt), isFirst)
	}
	return 0
}

// zoneIn returns the zone of a pod; "" if it is in none.
func zoneIn(spec *v1alpha1.NetworkTopologySpec, pod string) string {
	if spec.Spread == 2 {
		number, _ := strconv.Atoi(pod[len(pod)-1:])
		return string(rune('a' + number%2))
	}
	for _, z := range spec.Zones {
		for _, m := range z.Members {
			switch m {
			case "pd":
				if strings.HasPrefix(pod, "basic-pd-") {
					return string(z.Name)
				}
			case "tidb(0)", "tikv(0)":
				if pod == "basic-"+strings.TrimSuffix(strings.Replace(string(m), "(", "-", 1), ")") {
					return string(z.Name)
				}
			case v1alpha1.Selector("pod/" + pod):
				return string(z.Name)
			}
		}
	}
	return ""
}

// halfOf returns what a packet gets of a round trip, of which the odd microsecond is for
// the sender that is first by name.
func halfOf(roundTrip string, isFirst bool) time.Duration {
	whole, _ := time.ParseDuration(roundTrip)
	half := whole / 2
	if isFirst {
		half += time.Microsecond / 2
	}
	return half.Truncate(time.Microsecond)
}
