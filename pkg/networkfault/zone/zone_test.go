package zone_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/zone"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

func specOf(t testing.TB, text string) *v1alpha1.NetworkTopologySpec {
	t.Helper()
	spec := &v1alpha1.NetworkTopologySpec{}
	if err := json.Unmarshal([]byte(text), spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

func parse(t testing.TB, text string) zone.Rules {
	t.Helper()
	rules, err := zone.Parse(specOf(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// pods are 3 PD, 3 TiKV, 2 TiDB and discovery. Those of number 0 are on nodes of zone east,
// those of number 1 of zone west, and the others on nodes without a zone.
func pods() []zone.Pod {
	all := []zone.Pod{{Name: "basic-discovery-7d9c5b8f6c-0", Component: tidbcluster.Discovery, NodeLabels: map[string]string{corev1.LabelTopologyZone: "east"}}}
	for component, n := range map[tidbcluster.Component]int{tidbcluster.PD: 3, tidbcluster.TiKV: 3, tidbcluster.TiDB: 2} {
		for i := range n {
			p := zone.Pod{Name: fmt.Sprintf("basic-%s-%d", component, i), Component: component, NodeLabels: map[string]string{"rack": fmt.Sprint(i)}}
			switch i {
			case 0:
				p.NodeLabels[corev1.LabelTopologyZone] = "east"
			case 1:
				p.NodeLabels[corev1.LabelTopologyZone] = "west"
			default:
				p.NodeLabels = nil
			}
			all = append(all, p)
		}
	}
	return all
}

const slow = `"defaults": {"otherZone": "2ms"}`

func TestWhoIsWhere(t *testing.T) {
	const discovery = "basic-discovery-7d9c5b8f6c-0"
	for name, test := range map[string]struct {
		spec    string
		want    map[string]string // pods by zone
		unzoned string
		vacant  string
	}{
		"the label of nodes": {
			spec: slow, unzoned: "basic-pd-2 basic-tikv-2",
			want: map[string]string{"east": "basic-pd-0 basic-tidb-0 basic-tikv-0", "west": "basic-pd-1 basic-tidb-1 basic-tikv-1"},
		},
		"another label": {
			spec: `"zoneKey": "rack", ` + slow, unzoned: "basic-pd-2 basic-tikv-2",
			want: map[string]string{"0": "basic-pd-0 basic-tidb-0 basic-tikv-0", "1": "basic-pd-1 basic-tidb-1 basic-tikv-1"},
		},
		"dealt out": {
			spec: `"spread": 3, ` + slow,
			want: map[string]string{"a": "basic-pd-0 basic-tidb-0 basic-tikv-0", "b": "basic-pd-1 basic-tidb-1 basic-tikv-1", "c": "basic-pd-2 basic-tikv-2"},
		},
		"more zones than pods": {
			spec: `"spread": 5, ` + slow,
			want: map[string]string{"a": "basic-pd-0 basic-tidb-0 basic-tikv-0", "b": "basic-pd-1 basic-tidb-1 basic-tikv-1", "c": "basic-pd-2 basic-tikv-2", "d": "", "e": ""},
		},
		"a list": {
			spec:    `"zones": [{"name": "near", "members": ["pd, tikv(0)"]}, {"name": "far", "members": ["tikv(1)", "tikv(7)", "pod/basic-tikv-1", "pod/nobody"]}], ` + slow,
			want:    map[string]string{"near": "basic-pd-0 basic-pd-1 basic-pd-2 basic-tikv-0", "far": "basic-tikv-1"},
			unzoned: "basic-tidb-0 basic-tidb-1 basic-tikv-2",
			vacant:  "tikv(7) of zone far selects no pod now; pod/nobody of zone far selects no pod now",
		},
		"discovery where it is named": {
			spec: `"zones": [{"name": "a", "members": ["all"]}, {"name": "b", "members": ["discovery"]}], ` + slow,
			want: map[string]string{"a": "basic-pd-0 basic-pd-1 basic-pd-2 basic-tidb-0 basic-tidb-1 basic-tikv-0 basic-tikv-1 basic-tikv-2", "b": discovery},
		},
	} {
		t.Run(name, func(t *testing.T) {
			rules := parse(t, "{"+test.spec+"}")
			z, err := rules.Assign(pods(), zone.Before{})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, name := range z.Names {
				got[name] = strings.Join(z.Pods(name), " ")
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("zones (-want +got):\n%s", diff)
			}
			if got := strings.Join(z.Unzoned, " "); got != test.unzoned {
				t.Errorf("in no zone are %q, want %q", got, test.unzoned)
			}
			if got := strings.Join(z.Vacant, "; "); got != test.vacant {
				t.Errorf("vacant: %q, want %q", got, test.vacant)
			}
		})
	}
}

func TestWhatIsRefused(t *testing.T) {
	many := make([]string, 13)
	for i := range many {
		many[i] = fmt.Sprintf(`{"name": "z%02d", "members": ["tikv(%d)"]}`, i, i)
	}
	const ab = `"zones": [{"name": "a", "members": ["pd"]}, {"name": "b", "members": ["tikv"]}]`
	for spec, words := range map[string]string{
		`"spread": 17, ` + slow: "spec.spread 17: want 2 to 16 zones",
		`"spread": 2, "links": [{"between": ["a", "c"], "rtt": "1ms"}]`:                                                "spec.links[0].between: there is no zone c; want zones of a, b",
		ab + `, "links": [{"between": ["a", "x"], "rtt": "1ms"}]`:                                                      "spec.links[0].between: there is no zone x; want zones of a, b",
		`"links": [{"between": ["a", "b"], "rtt": "1ms"}, {"between": ["a", "b"], "rtt": "2ms"}]`:                      "spec.links[1].between: a to b is that of spec.links[0] already",
		`"links": [{"between": ["a", "b"], "rtt": "1ms", "jitter": "2ms"}]`:                                            `spec.links[0].jitter "2ms"`,
		`"links": [{"between": ["a", "b"], "rtt": "0ms", "jitter": "2ms"}]`:                                            `spec.links[0].jitter "2ms"`,
		`"links": [{"between": ["a", "b"], "rtt": "601s"}]`:                                                            `spec.links[0].rtt "601s"`,
		`"links": [{"between": ["a", "b"], "rtt": "1ms", "rate": {"perSecond": "1bit"}}]`:                              `spec.links[0].rate.perSecond "1bit"`,
		`"links": [{"between": ["a", "b"], "rtt": "1ms", "loss": {"percent": 0.00001}}]`:                               "spec.links[0].loss.percent",
		`"defaults": {"sameZone": "1h"}`:                                                                               `spec.defaults.sameZone: rtt "1h"`,
		`"profile": "moon"`:                                                                                            `spec.profile "moon": want one of three-az`,
		`"profile": "three-az", "spread": 4`:                                                                           "spec.profile three-az is for 3 zones (a, b, c), and spec.spread 4 makes 4: a, b, c, d",
		`"profile": "three-az", ` + ab:                                                                                 "and spec.zones makes 2: a, b",
		`"links": [{"between": ["a", "a"], "rtt": "501us", "rate": {"perSecond": "1gbit"}}]`:                           `spec.links[0]: rtt "501us" and jitter "": want an even number of microseconds`,
		`"links": [{"between": ["a", "a"], "rtt": "5ms", "jitter": "1us", "rate": {"perSecond": "1gbit"}}]`:            `spec.links[0]: rtt "5ms" and jitter "1us": want an even number of microseconds`,
		`"spread": 12, "defaults": {"sameZone": "501us", "otherZone": "2ms"}`:                                          "spec.spread 12: pods of zone a would need a fault for each of 12 zones and one more for the odd microsecond within it, and 12 faults of a pod are possible; want fewer zones, or an even number of microseconds",
		`"spread": 14, ` + slow:                                                                                        "spec.spread 14: pods of zone a would need a fault for each of 13 zones, and 12 faults of a pod are possible",
		`"zones": [` + strings.Join(many, ",") + `], "defaults": {"sameZone": "1ms", "otherZone": "1ms"}`:              "spec.zones: pods of zone z00 would need a fault for each of 13 zones",
		`"zones": [{"name": "a", "members": ["pd(leader)"]}, {"name": "b", "members": ["tikv"]}], ` + slow:             "spec.zones[0].members[0]: selector \"pd(leader)\"",
		`"zones": [{"name": "a", "members": ["pd"]}, {"name": "b", "members": ["pd(0)", "others"]}], ` + slow:          "spec.zones[1].members[1]: selector \"others\"",
		`"zones": [{"name": "a", "members": ["tikv@east"]}, {"name": "b", "members": ["pd"]}], ` + slow:                "tikv@east can't be in a zone",
		`"zones": [{"name": "a", "members": ["cidr/10.0.0.0/8"]}, {"name": "b", "members": ["pd"]}], ` + slow:          "cidr/10.0.0.0/8 can't be in a zone",
		`"zones": [{"name": "a", "members": ["pd"]}, {"name": "a", "members": ["tikv"]}], ` + slow:                     `spec.zones[1].name "a": there is such a zone already`,
		`"zones": [{"name": "a", "members": ["tikv"]}, {"name": "b", "members": ["pd", "pod/basic-tikv-1"]}], ` + slow: "pod basic-tikv-1 is in two zones, in a by tikv and in b by pod/basic-tikv-1",
	} {
		rules, err := zone.Parse(specOf(t, "{"+spec+"}"))
		if err == nil {
			_, err = rules.Assign(pods(), zone.Before{})
		}
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s:\n%v, want %q", spec, err, words)
		}
	}
}

// What is odd within a zone needs room, and is possible where there is some.
func TestOddWithinAZone(t *testing.T) {
	for _, spec := range []string{
		`{"spread": 11, "defaults": {"sameZone": "501us", "otherZone": "2ms"}}`,
		`{"spread": 12, "defaults": {"sameZone": "502us", "otherZone": "2ms"}}`,
		`{"spread": 12, "defaults": {"otherZone": "501us"}}`,
		`{"spread": 2, "links": [{"between": ["a", "b"], "rtt": "501us", "rate": {"perSecond": "1gbit"}}, {"between": ["a", "a"], "rtt": "502us", "rate": {"perSecond": "1gbit"}}]}`,
	} {
		parse(t, spec)
	}
}

func TestTooManyZonesByLabel(t *testing.T) {
	rules := parse(t, `{"zoneKey": "rack", "links": [{"between": ["r0", "r1"], "rtt": "1ms"}]}`)
	var all []zone.Pod
	for i := range 17 {
		all = append(all, zone.Pod{Name: fmt.Sprintf("basic-tikv-%d", i), Component: tidbcluster.TiKV, NodeLabels: map[string]string{"rack": fmt.Sprintf("r%d", i)}})
	}
	if _, err := rules.Assign(all, zone.Before{}); err == nil || !strings.Contains(err.Error(), "the label rack of the pods' nodes makes 17 zones, and 16 are possible") {
		t.Errorf("error %v", err)
	}
	if z, err := rules.Assign(all[:16], zone.Before{}); err != nil || len(z.Names) != 16 {
		t.Errorf("16 zones: %v, error %v", z.Names, err)
	}
}

// A profile's zones are dealt out in order of name, also while one of them has no pods.
func TestAProfileIsDealt(t *testing.T) {
	rules := parse(t, `{"profile": "2-2-1"}`)
	z, err := rules.Assign(pods(), zone.Before{Zones: named("east", "north", "west")})
	if err != nil {
		t.Fatal(err)
	}
	links, err := rules.Links(z.Names)
	if err != nil {
		t.Fatal(err)
	}
	for way, want := range map[compile.Way]time.Duration{
		{From: "east", To: "north"}: 2 * time.Millisecond, {From: "west", To: "east"}: 20 * time.Millisecond, {From: "north", To: "west"}: 20 * time.Millisecond, {From: "east", To: "east"}: 0,
	} {
		if got := links[way].Delay; got != want {
			t.Errorf("%v: %s, want %s", way, got, want)
		}
	}
	if z, _ = rules.Assign(pods(), zone.Before{}); !slices.Equal(z.Names, []string{"east", "west"}) {
		t.Errorf("zones %v", z.Names)
	}
	if _, err := rules.Links(z.Names); err == nil || !strings.Contains(err.Error(), "2-2-1 is for 3 zones (a, b, c), and the label topology.kubernetes.io/zone of the pods' nodes makes 2: east, west") {
		t.Errorf("error %v", err)
	}
}

func TestWhatIsBetween(t *testing.T) {
	rules := parse(t, `{"spread": 3, "defaults": {"sameZone": "500us", "otherZone": "9ms"}, "links": [
		{"between": ["a", "b"], "rtt": "20ms", "jitter": "1ms", "loss": {"percent": 1}},
		{"between": ["b", "a"], "rtt": "40ms"},
		{"between": ["c", "b"], "rtt": "0ms", "rate": {"perSecond": "1gbit"}},
		{"between": ["c", "c"], "rtt": "0ms"}]}`)
	names := []string{"a", "b", "c"}
	links, err := rules.Links(names)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for way, i := range links {
		got[way.From+way.To] = fmt.Sprintf("%s %s loss=%t rate=%t", i.Delay, i.Jitter, i.Loss != nil, i.Rate != nil)
	}
	want := map[string]string{
		"aa": "500µs 0s loss=false rate=false", "ab": "20ms 1ms loss=true rate=false", "ac": "9ms 0s loss=false rate=false",
		"ba": "40ms 0s loss=false rate=false", "bb": "500µs 0s loss=false rate=false", "bc": "0s 0s loss=false rate=true",
		"ca": "9ms 0s loss=false rate=false", "cb": "0s 0s loss=false rate=true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	if got, want := rules.What(names), "up to 30ms RTT, jitter, loss up to 1%, rate between 3 zones, 500us RTT within them"; got != want {
		t.Errorf("what is %q, want %q", got, want)
	}
}

func TestWords(t *testing.T) {
	for spec, want := range map[string]string{
		`{"profile": "three-az"}`:                                         "three-az",
		`{"spread": 2, "defaults": {"otherZone": "2ms"}}`:                 "2ms RTT between 2 zones",
		`{"spread": 2, "links": [{"between": ["a", "b"], "rtt": "0ms"}]}`: "nothing between 2 zones",
		`{"defaults": {"otherZone": "2ms"}}`:                              "",
		`{"spread": 2, "defaults": {"sameZone": "2ms"}}`:                  "2ms RTT within 2 zones",
		`{"spread": 3, "links": [{"between": ["b", "b"], "rtt": "2ms"}]}`: "2ms RTT within 1 zone",
		`{"spread": 3, "profile": "us-eu-ap"}`:                            "us-eu-ap (a is ap, b is eu, c is us)",
		`{"spread": 3, "profile": "three-az"}`:                            "three-az",
	} {
		rules := parse(t, spec)
		if got := rules.What(nil); got != want {
			t.Errorf("%s: %q, want %q", spec, got, want)
		}
	}
	rules := parse(t, `{"links": [{"between": ["east", "mars"], "rtt": "1ms"}, {"between": ["east", "west"], "rtt": "1ms"}]}`)
	z, _ := rules.Assign(pods(), zone.Before{})
	if got, want := strings.Join(rules.Unused(z), "; "), "no pod is in zone mars of spec.links[0]"; got != want {
		t.Errorf("unused: %q, want %q", got, want)
	}
	z, _ = rules.Assign(pods()[:1], zone.Before{})
	if got, want := rules.Few(z), "fewer than 2 zones have pods: none, by the label topology.kubernetes.io/zone of the pods' nodes; label"; !strings.HasPrefix(got, want) {
		t.Errorf("few: %q, want %q", got, want)
	}
}
