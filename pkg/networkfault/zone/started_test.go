package zone_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/zone"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// named returns zones that a topology had, without their pods.
func named(names ...string) []v1alpha1.ZonePods {
	var all []v1alpha1.ZonePods
	for _, name := range names {
		all = append(all, v1alpha1.ZonePods{Name: name})
	}
	return all
}

// had returns zones as a status has them.
func had(z zone.Zones) []v1alpha1.ZonePods {
	all := named(z.Names...)
	for i := range all {
		all[i].Pods = z.Pods(all[i].Name)
	}
	return all
}

// stores returns TiKV pods, each on a node of its own zone, from a on.
func stores(zones int) []zone.Pod {
	var all []zone.Pod
	for i := range zones {
		all = append(all, zone.Pod{
			Name: fmt.Sprintf("basic-tikv-%d", i), Component: tidbcluster.TiKV, NodeLabels: map[string]string{corev1.LabelTopologyZone: string(rune('a' + i))},
		})
	}
	return all
}

// A zone that there is no room for is refused at the start. In a topology that has started its
// pods are in no zone, and the others stay where they are.
func TestAZoneTooMany(t *testing.T) {
	for name, test := range map[string]struct {
		spec  string
		room  int
		words string
	}{
		"faults of a pod": {"{" + slow + "}", 13, "in no zone: 1 pod of zone n; there is no room for more zones: the label topology.kubernetes.io/zone of the pods' nodes: pods of zone a would need a fault for each of 13 zones"},
		"zones at all":    {`{"links": [{"between": ["a", "b"], "rtt": "1ms"}]}`, zone.Max, "in no zone: 1 pod of zone q; there is no room for more zones: the label topology.kubernetes.io/zone of the pods' nodes makes 17 zones, and 16 are possible"},
	} {
		t.Run(name, func(t *testing.T) {
			rules, all := parse(t, test.spec), stores(test.room+1)
			before, err := rules.Assign(all[:test.room], zone.Before{})
			if err == nil {
				_, err = rules.Links(before.Names)
			}
			if err != nil {
				t.Fatal(err)
			}
			fresh, err := rules.Assign(all, zone.Before{})
			if err == nil {
				_, err = rules.Links(fresh.Names)
			}
			if err == nil {
				t.Errorf("%d zones are taken at the start", len(fresh.Names))
			}
			z, err := rules.Assign(all, zone.Before{Zones: had(before)})
			if err != nil {
				t.Fatal(err)
			}
			last := all[test.room].Name
			if !slices.Equal(z.Names, before.Names) || !slices.Equal(z.Unzoned, []string{last}) || len(z.Strange) != 1 || !strings.HasPrefix(z.Strange[0], test.words) {
				t.Errorf("zones %v, in none %v: %q; want those before without %s: %q", z.Names, z.Unzoned, z.Strange, last, test.words)
			}
			// Where one goes, the next comes in.
			if z, err = rules.Assign(all[1:], zone.Before{Zones: had(z)}); err != nil || len(z.Strange) > 0 || z.Of[last] == "" {
				t.Errorf("with room again: %+v, error %v", z, err)
			}
		})
	}
}

// The zone of the only pod that is being replaced keeps its place at the bound, though others
// wait for one: until all pods are there, wherever they are.
func TestAReplacedPodFindsItsZone(t *testing.T) {
	const room = 13
	rules, all := parse(t, "{"+slow+"}"), stores(room+1)
	started, err := rules.Assign(all[:room], zone.Before{})
	if err != nil {
		t.Fatal(err)
	}
	moved := func(labels map[string]string) []zone.Pod {
		return append([]zone.Pod{{Name: all[0].Name, Component: tidbcluster.TiKV, NodeLabels: labels, Unscheduled: labels == nil}}, all[1:]...)
	}
	before, last := had(started), all[room].Name
	for _, step := range []struct {
		what       string
		pods       []zone.Pod
		isShort    bool
		zone, late string // of the pod that is replaced, and of the one that waits for a place
	}{
		{"at first", all, false, "a", ""},
		{"deleted", all[1:], true, "", ""},
		{"still so", all[1:], true, "", ""},
		{"on no node", moved(nil), false, "", ""},
		{"back", all, false, "a", ""},
		{"deleted again", all[1:], true, "", ""},
		{"back in another zone", moved(map[string]string{corev1.LabelTopologyZone: "b"}), false, "b", "n"},
		{"back where it was, too late", all, false, "", "n"},
	} {
		z, err := rules.Assign(step.pods, zone.Before{Zones: before, IsShort: step.isShort})
		if err != nil {
			t.Fatal(err)
		}
		if z.Of[all[0].Name] != step.zone || z.Of[last] != step.late || len(z.Names) != room || z.Of[all[1].Name] != "b" {
			t.Errorf("%s: the pod is in zone %q, the one that waits in %q, zones %v; want %q and %q", step.what, z.Of[all[0].Name], z.Of[last], z.Names, step.zone, step.late)
		}
		before = had(z)
	}
}

// Zones that have no place any more, by another spec, keep none for pods that may come.
func TestPlacesThatAreNoMore(t *testing.T) {
	all := stores(15)
	links := parse(t, `{"links": [{"between": ["a", "b"], "rtt": "1ms"}]}`)
	z, err := links.Assign(all, zone.Before{})
	if err != nil {
		t.Fatal(err)
	}
	late := zone.Pod{Name: "basic-tikv-15", Component: tidbcluster.TiKV, NodeLabels: map[string]string{corev1.LabelTopologyZone: "z"}}
	for _, isShort := range []bool{true, false} {
		rules := parse(t, "{"+slow+"}")
		z, err := rules.Assign(append(slices.Clone(all[2:]), late), zone.Before{Zones: had(z), IsShort: isShort})
		if err == nil {
			_, err = rules.Links(z.Names)
		}
		if err != nil || len(z.Names) != 13 || len(z.Strange) != 1 {
			t.Errorf("short %t: zones %v, error %v, %q; want the 13 that have pods and were there", isShort, z.Names, err, z.Strange)
		}
	}
}

// Pods that come and go end no topology by label that has started: as many zones as there is
// room for go on, and none that stays has to give way to another.
func TestZonesByLabelStay(t *testing.T) {
	rules := parse(t, "{"+slow+"}")
	rapid.Check(t, func(t *rapid.T) {
		all := stores(20)
		draw := func(label string) []zone.Pod {
			return slices.DeleteFunc(slices.Clone(all), func(zone.Pod) bool { return rapid.IntRange(0, 3).Draw(t, label) == 0 })
		}
		before, err := rules.Assign(draw("before")[:rapid.IntRange(1, 4).Draw(t, "started with")], zone.Before{})
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			now := append(draw("now"), zone.Pod{Name: "basic-pd-0", NodeLabels: map[string]string{corev1.LabelTopologyZone: before.Names[0]}})
			z, err := rules.Assign(now, zone.Before{Zones: had(before)})
			if err == nil {
				_, err = rules.Links(z.Names)
			}
			if err != nil {
				t.Fatal(err)
			}
			zones := map[string]bool{}
			for _, p := range now {
				label := p.NodeLabels[corev1.LabelTopologyZone]
				zones[label] = true
				if slices.Contains(before.Names, label) && z.Of[p.Name] != label {
					t.Fatalf("%s of zone %s, which was one before, is in %q", p.Name, label, z.Of[p.Name])
				}
			}
			if len(z.Names) != min(len(zones), 13) {
				t.Fatalf("%d of %d zones", len(z.Names), len(zones))
			}
			before = z
		}
	})
}

// All nodes are in other zones at one look. A topology that runs is dealt to those if it fits
// them. Else it goes on as far as it does: with a profile the zones stay, and without one there
// are as many as there is room for.
func TestAllNodesInOtherZones(t *testing.T) {
	for name, test := range map[string]struct {
		spec           string
		before, after  int
		want           string // zones, when it runs
		words, refused string
	}{
		"as many":                  {`{"profile": "three-az"}`, 3, 3, "d e f", "", ""},
		"more than the profile":    {`{"profile": "three-az"}`, 3, 4, "a b c", "in no zone: 1 pod of zone d, 1 pod of zone e, 1 pod of zone f, 1 pod of zone g; the profile's zones stay a, b, c", "makes 4: d, e, f, g"},
		"fewer than the profile":   {`{"profile": "three-az"}`, 3, 2, "a b c", "in no zone: 1 pod of zone d, 1 pod of zone e;", "makes 2: d, e"},
		"others":                   {"{" + slow + "}", 3, 4, "d e f g", "", ""},
		"more than there are":      {"{" + slow + "}", 2, 14, "c d e f g h i j k l m n o", "in no zone: 1 pod of zone p; there is no room", "13 zones"},
		"while the cluster is new": {"{" + slow + "}", 13, 13, "n o p q r s t u v w x y z", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			rules, all := parse(t, test.spec), stores(test.before+test.after)
			was, err := rules.Assign(all[:test.before], zone.Before{})
			if err != nil {
				t.Fatal(err)
			}
			for _, isShort := range []bool{false, true} {
				z, err := rules.Assign(all[test.before:], zone.Before{Zones: had(was), Runs: true, IsShort: isShort})
				if err == nil {
					_, err = rules.Links(z.Names)
				}
				if err != nil {
					t.Fatal(err)
				}
				if got, said := strings.Join(z.Names, " "), strings.Join(z.Strange, "; "); got != test.want || !strings.HasPrefix(said, test.words) || (said == "") != (test.words == "") {
					t.Errorf("zones %s, %q; want %s, %q", got, said, test.want, test.words)
				}
				// One that is to start anew, or was changed, is refused or waits.
				z, err = rules.Assign(all[test.before:], zone.Before{Zones: had(was), IsShort: isShort})
				if err == nil {
					_, err = rules.Links(z.Names)
				}
				if (err == nil) != (test.refused == "") || err != nil && !strings.Contains(err.Error(), test.refused) {
					t.Errorf("error %v, want %q", err, test.refused)
				}
			}
		})
	}
}

// A pod that is in two zones of a list is refused at the start, and where a change puts it
// there. One that comes to a topology that has started is in no zone.
func TestAPodInTwoZones(t *testing.T) {
	rules := parse(t, `{"zones": [{"name": "a", "members": ["pd", "tikv(2)"]}, {"name": "b", "members": ["tikv"]}], `+slow+`}`)
	const words = "pod basic-tikv-2 is in two zones, in a by tikv(2) and in b by tikv; want each pod in one at most"
	all := pods()
	others := slices.DeleteFunc(slices.Clone(all), func(p zone.Pod) bool { return p.Name == "basic-tikv-2" })
	before, err := rules.Assign(others, zone.Before{})
	if err != nil {
		t.Fatal(err)
	}
	was := had(before)
	was[1].Pods = append(was[1].Pods, "basic-tikv-2") // by another spec
	for name, zones := range map[string][]v1alpha1.ZonePods{"a start": nil, "a change": was} {
		if _, err := rules.Assign(all, zone.Before{Zones: zones}); err == nil || err.Error() != "spec.zones: "+words {
			t.Errorf("%s: error %v, want %q", name, err, words)
		}
	}
	z, err := rules.Assign(all, zone.Before{Zones: had(before)})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(z.Unzoned, "basic-tikv-2") || !slices.Equal(z.Strange, []string{"in no zone: " + words}) || z.Of["basic-tikv-1"] != "b" || z.Of["basic-pd-0"] != "a" {
		t.Errorf("zones %+v, want basic-tikv-2 in none: %q", z, words)
	}
}

// What is between the same zones is worked out once.
func TestLinksAreWorkedOutOnce(t *testing.T) {
	rules, names := parse(t, `{"spread": 16, "links": [{"between": ["a", "b"], "rtt": "1ms"}]}`), []string{}
	for i := range 16 {
		names = append(names, string(rune('a'+i)))
	}
	if n := testing.AllocsPerRun(10, func() { _, _ = rules.Links(names) }); n > 0 {
		t.Errorf("%g allocations", n)
	}
	names = []string{"a", "c"}
	if links, err := rules.Links(names); err != nil || len(links) > 0 {
		t.Errorf("between a and c: %v, error %v", links, err)
	}
}
