//go:build apiserver

package apiserver

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// topologyResource is the kind NetworkTopology, as requests name it.
const topologyResource = "networktopologies"

// threeZones is a spec that nothing is wrong with. Other specs are written as what they
// change in it.
const threeZones = "cluster: basic, spread: 3, profile: three-az, duration: 2h"

// topology returns a NetworkTopology without making it.
func (n namespace) topology(name, fields string) *unstructured.Unstructured {
	n.t.Helper()
	spec := putOver(n.t, threeZones, fields)
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": faultVersion, "kind": "NetworkTopology", "spec": spec}}
	u.SetNamespace(n.name)
	u.SetName(name)
	return u
}

// numbered is a list in YAML's short form. The item has a verb for its number.
func numbered(item string, n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(item, i))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

const (
	zoneKeyWords   = "spec.zoneKey: want the key of a label of nodes, such as topology.kubernetes.io/zone or rack"
	zoneNameWords  = "want the name of a zone: letters and digits, and between them also -, _ and ., such as us-east-1a, and not "
	zonedOnceWords = "spec: want at most one of zoneKey (zones by a label of the nodes), zones (a list) and spread (dealt out)"
	profileWords   = "spec: a profile has its own links: want either profile, or links and defaults"
	nothingWords   = "spec: nothing is between the zones: want a profile such as three-az, or links, or defaults"
	lastsWords     = "spec: want either duration, such as 2h, or untilDeleted: true"
	roundTripWords = "want a time with the unit us, ms or s, such as 500us or 20ms, from 1us to 600s, or 0ms for none, and not "
	unjitterWords  = "spec.links[0]: jitter spreads a delay: want rtt above 0 with it"
)

// Parts of specs.
const (
	aAndB    = "spread: null, zones: [{name: a, members: [pd]}, {name: b, members: [tikv]}]"
	longName = "name-of-a-zone-that-is-as-long-as-the-value-of-a-label-can-be-a"
)

// linked is a spec with one link, which goes on as given.
func linked(fields string) string {
	return "profile: null, links: [{between: [a, b], " + fields + "}]"
}

// refusedTopologies are specs, and in whose words each is refused: all of them, so that no
// rule speaks up where another one is broken.
var refusedTopologies = map[string][]string{
	"cluster: null":                       {"spec.cluster: Required value"},
	"cluster: ''":                         {"spec.cluster: spec.cluster in body should be at least 1 chars long"},
	"cluster: " + strings.Repeat("c", 64): {"spec.cluster: Too long: may not be more than 63 bytes"},
	"cluster: db2/far":                    {"spec.cluster: " + clusterWords},

	"zoneKey: rack":           {zonedOnceWords},
	"zoneKey: rack, " + aAndB: {zonedOnceWords},
	"spread: 2, zones: [{name: a, members: [pd]}, {name: b, members: [tikv]}]": {zonedOnceWords},

	"spread: null, zoneKey: ''":                          {"spec.zoneKey: spec.zoneKey in body should be at least 1 chars long"},
	"spread: null, zoneKey: " + strings.Repeat("k", 318): {"spec.zoneKey: Too long: may not be more than 317 bytes"},
	`spread: null, zoneKey: "a\nb"`:                      {zoneKeyWords}, // a message has one line

	"spread: 0":         {"spec.spread: Invalid value: 0: spec.spread in body should be greater than or equal to 2"},
	"spread: 1":         {"spec.spread: Invalid value: 1: spec.spread in body should be greater than or equal to 2"},
	"spread: 17":        {"spec.spread: Invalid value: 17: spec.spread in body should be less than or equal to 16"},
	"profile: four-az":  {`spec.profile: Unsupported value: "four-az": supported values: "three-az", "two-region", "2-2-1", "us-eu-ap"`},
	"profile: ''":       {`spec.profile: Unsupported value: "": supported values: "three-az", "two-region", "2-2-1", "us-eu-ap"`},
	"startAfter: Never": {`spec.startAfter: Unsupported value: "Never": supported values: "Ready", "Created"`},

	"profile: null":                        {nothingWords},
	"defaults: {otherZone: 1ms}":           {profileWords},
	"links: [{between: [a, b], rtt: 1ms}]": {profileWords},
	"links: [{between: [a, b], rtt: 1ms}], defaults: {sameZone: 1ms}": {profileWords},

	"spread: null, zones: []":                                                                       {"spec.zones: Invalid value: 0: spec.zones in body should have at least 2 items"},
	"spread: null, zones: [{name: a, members: [pd]}]":                                               {"spec.zones: Invalid value: 1: spec.zones in body should have at least 2 items"},
	"spread: null, zones: " + numbered("{name: z%d, members: [tikv]}", 17):                          {"spec.zones: Too many: 17: must have at most 16 items"},
	"spread: null, zones: [{name: a, members: [pd]}, {name: a, members: [tikv]}]":                   {`spec.zones[1]: Duplicate value: {"name":"a"}`},
	"spread: null, zones: [{name: a, members: [pd]}, {members: [tikv]}]":                            {"spec.zones[1].name: Required value"},
	"spread: null, zones: [{name: a, members: [pd]}, {name: '', members: [tikv]}]":                  {"spec.zones[1].name: spec.zones[1].name in body should be at least 1 chars long"},
	"spread: null, zones: [{name: a, members: [pd]}, {name: b-, members: [tikv]}]":                  {"spec.zones[1].name: " + zoneNameWords + `"b-"`},
	"spread: null, zones: [{name: a, members: [pd]}, {name: 'b c', members: [tikv]}]":               {"spec.zones[1].name: " + zoneNameWords + `"b c"`},
	"spread: null, zones: [{name: a, members: [pd]}, {name: b}]":                                    {"spec.zones[1].members: Required value"},
	"spread: null, zones: [{name: a, members: [pd]}, {name: b, members: []}]":                       {"spec.zones[1].members: Invalid value: 0: spec.zones[1].members in body should have at least 1 items"},
	"spread: null, zones: [{name: a, members: [pd]}, {name: b, members: [' ']}]":                    {"spec.zones[1].members[0]: " + selectorWords},
	"spread: null, zones: [{name: a, members: [pd]}, {name: b, members: " + many("tikv", 65) + "}]": {"spec.zones[1].members: Too many: 65: must have at most 64 items"},

	"profile: null, links: []": {"spec.links: Invalid value: 0: spec.links in body should have at least 1 items"},
	"profile: null, links: " + many("{between: [a, b], rtt: 1ms}", 257):   {"spec.links: Too many: 257: must have at most 256 items"},
	"profile: null, links: [{rtt: 1ms}]":                                  {"spec.links[0].between: Required value"},
	"profile: null, links: [{between: [a], rtt: 1ms}]":                    {"spec.links[0].between: Invalid value: 1: spec.links[0].between in body should have at least 2 items"},
	"profile: null, links: [{between: [a, b, c], rtt: 1ms}]":              {"spec.links[0].between: Too many: 3: must have at most 2 items"},
	"profile: null, links: [{between: [a, .b], rtt: 1ms}]":                {"spec.links[0].between[1]: " + zoneNameWords + `".b"`},
	"profile: null, links: [{between: [a, ''], rtt: 1ms}]":                {"spec.links[0].between[1]: spec.links[0].between[1] in body should be at least 1 chars long"},
	"profile: null, links: [{between: [a, " + longName + "b], rtt: 1ms}]": {"spec.links[0].between[1]: Too long: may not be more than 63 bytes"},
	"profile: null, links: [{between: [a, b]}]":                           {"spec.links[0].rtt: Required value"},
	linked("rtt: 1ms, jitter: 0ms"):                                       {"spec.links[0].jitter: " + delayWords},
	linked("rtt: 0ms, jitter: 1ms"):                                       {unjitterWords},
	linked("rtt: 0s, jitter: 1ms"):                                        {unjitterWords},
	linked("rtt: 000.0us, jitter: 1ms"):                                   {unjitterWords},
	linked("rtt: 1m, jitter: 1ms"):                                        {"spec.links[0].rtt: " + roundTripWords + `"1m"`},
	linked("rtt: 1ms, loss: {}"):                                          {"spec.links[0].loss: want exactly one of percent, gilbertElliott and fourState"},
	linked("rtt: 1ms, loss: {percent: 0}"):                                {"spec.links[0].loss.percent: Invalid value: 0: spec.links[0].loss.percent in body should be greater than 0"},
	linked("rtt: 1ms, rate: {perSecond: 10mbps}"):                         {strings.Replace(rateWords, "spec.", "spec.links[0].", 1)},
	"profile: null, defaults: {}":                                         {"spec.defaults: no default is given: want sameZone, such as 0.5ms, or otherZone, such as 2ms, or both"},
	"profile: null, defaults: {sameZone: 1h}":                             {"spec.defaults.sameZone: " + roundTripWords + `"1h"`},
	"profile: null, defaults: {otherZone: '2'}":                           {"spec.defaults.otherZone: " + roundTripWords + `"2"`},

	"duration: null":                      {lastsWords},
	"duration: null, untilDeleted: false": {lastsWords},
	"untilDeleted: true":                  {lastsWords},
	"duration: 721h":                      {"spec.duration: " + durationWords},
	"allow: [Quorum]":                     {`spec.allow[0]: Unsupported value: "Quorum": supported values: "QuorumLoss", "Failover", "LongDelay", "UnhealthyStart", "Upgrade", "Partial"`},
	"allow: [Upgrade, Upgrade]":           {`spec.allow[1]: Duplicate value: "Upgrade"`},
}

// Each rule refuses in words that a person understands, and names the field.
func TestTopologiesAreRefused(t *testing.T) {
	n := newNamespace(t)
	all := maps.Clone(refusedTopologies)
	for _, text := range []string{"", "0", "20", "20m", "1h", "-5ms", "0.5us", "0ns", "601s", "600.1s", "5 ms", "5MS", ".5ms", "1s500ms", "1e3ms", "NaN", "0.0000000ms"} {
		all[linked("rtt: "+strconv.Quote(text))] = []string{"spec.links[0].rtt: " + roundTripWords + strconv.Quote(text)}
	}
	all[linked("rtt: 1."+strings.Repeat("0", 30)+"s")] = []string{"spec.links[0].rtt: Too long: may not be more than 32 bytes"}
	for _, key := range []string{
		"/rack", "rack/", "-rack", "rack-", "a/b/c", "rack=1", "the rack", "EXAMPLE.com/rack", "example..com/rack", "-a.com/rack",
		strings.Repeat("k", 64), strings.Repeat("p", 254) + "/rack",
	} {
		all["spread: null, zoneKey: '"+key+"'"] = []string{zoneKeyWords + ", and not " + strconv.Quote(key)}
	}
	for fields, want := range all {
		t.Run(fields[:min(len(fields), 90)], func(t *testing.T) {
			err := world.client.Create(t.Context(), n.topology("refused", fields), client.DryRunAll, strictly)
			got := refusals(t, err)
			if diff := cmp.Diff(want, got, cmpopts.SortSlices(strings.Compare)); diff != "" {
				t.Errorf("refused in other words (-want +got):\n%s", diff)
			}
		})
	}
}

// largestTopology has the most of everything.
var largestTopology = "cluster: " + strings.Repeat("c", 63) + ", spread: null, profile: null, duration: 720h, allow: [QuorumLoss, Failover, LongDelay, UnhealthyStart, Upgrade, Partial], " +
	"zones: " + numbered("{name: "+longName[:61]+"%02d, members: "+many(strings.Repeat("m", 253), 64)+"}", 16) + ", " +
	"links: " + many("{between: ["+longName+", "+longName+"], rtt: 000000001.000000ms, jitter: 000000001.000000ms, rate: {perSecond: "+strings.Repeat("1", 28)+"gbit, packetOverhead: 10000, cellSize: 10000, cellOverhead: 10000}, "+
	"loss: {fourState: {p13: 0.0001, p31: 0.0001, p32: 0.0001, p23: 0.0001, p14: 0.0001}}}", 256) + ", " +
	"defaults: {sameZone: 000000001.000000ms, otherZone: 000000001.000000ms}"

// acceptedTopologies are the least and the most of each field, and combinations of fields.
var acceptedTopologies = []string{
	"",
	"cluster: " + strings.Repeat("c", 63), "cluster: 2.basic-far",
	"spread: null", "spread: 2", "spread: 16", "spread: null, zoneKey: topology.kubernetes.io/region", "spread: null, zoneKey: r", "spread: null, zoneKey: Rack_1.a-B",
	"spread: null, zoneKey: " + strings.Repeat("p", 253) + "/" + strings.Repeat("k", 63),
	"spread: null, zones: [{name: a, members: ['tikv(0)', 'pd(0)', pod/basic-tidb-0]}, {name: " + longName + ", members: [ticdc]}]",
	"spread: null, zones: [{name: '1', members: [all]}, {name: us-East_1.a, members: [discovery]}]",
	"profile: two-region", "profile: 2-2-1", "profile: us-eu-ap",
	linked("rtt: 1us"), linked("rtt: 600s"), linked("rtt: 1.5ms"), linked("rtt: 599999999us"),
	linked("rtt: 0ms"), linked("rtt: 0us"), linked("rtt: 0s"), linked("rtt: 000.000ms"), linked("rtt: 0ms, loss: {percent: 1}"),
	linked("rtt: 1us, jitter: 1us"), linked("rtt: 0.001ms, jitter: 2s"),
	linked("rtt: 20ms, jitter: 1ms, loss: {percent: 0.01, correlation: 25}, rate: {perSecond: 1gbit}"),
	"profile: null, links: [{between: [a, a], rtt: 1ms}, {between: [a, b], rtt: 1ms}, {between: [b, a], rtt: 2ms}], defaults: {otherZone: 2ms}",
	"profile: null, defaults: {sameZone: 0ms, otherZone: 2ms}", "profile: null, defaults: {sameZone: 500us}",
	"startAfter: Ready", "startAfter: Created",
	"duration: 1s", "duration: null, untilDeleted: true", "untilDeleted: false, paused: true",
	"allow: [QuorumLoss, Failover, LongDelay, UnhealthyStart, Upgrade, Partial]", "allow: []",
	largestTopology,
}

// What can be meant is taken, the longest lists of the longest texts too: no rule costs
// more than the API server allows.
func TestTopologiesAreAccepted(t *testing.T) {
	n := newNamespace(t)
	for _, fields := range acceptedTopologies {
		t.Run(fields[:min(len(fields), 90)], func(t *testing.T) {
			must(t, world.client.Create(t.Context(), n.topology("accepted", fields), client.DryRunAll, strictly))
		})
	}
}
