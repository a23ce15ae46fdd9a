//go:build apiserver

package apiserver

import (
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// The kind NetworkFault, as requests name it.
const (
	faultGroup    = "tidelay.io"
	faultVersion  = faultGroup + "/v1alpha1"
	faultResource = "networkfaults"
)

// slowTiKV is a spec that nothing is wrong with. Other specs are written as what they
// change in it.
const slowTiKV = "cluster: basic, from: [tikv], rtt: 50ms, duration: 10m"

// spec puts fields over slowTiKV's.
func spec(t *testing.T, fields string) map[string]any {
	t.Helper()
	return putOver(t, slowTiKV, fields)
}

// putOver reads fields in YAML's short form and puts them over others. A field that is
// null is taken out.
func putOver(t *testing.T, others, fields string) map[string]any {
	t.Helper()
	merged := parseFields(t, others)
	maps.Copy(merged, parseFields(t, fields))
	maps.DeleteFunc(merged, func(_ string, value any) bool { return value == nil })
	return merged
}

func parseFields(t *testing.T, fields string) map[string]any {
	t.Helper()
	object := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte("{"+fields+"}"), &object); err != nil {
		t.Fatalf("%s: %v", fields, err)
	}
	return object
}

// fault returns a NetworkFault without making it.
func (n namespace) fault(name, fields string) *unstructured.Unstructured {
	n.t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": faultVersion, "kind": "NetworkFault", "spec": spec(n.t, fields)}}
	u.SetNamespace(n.name)
	u.SetName(name)
	return u
}

// strictly makes the API server refuse fields that it does not know, as kubectl does.
const strictly = client.FieldValidation(metav1.FieldValidationStrict)

// refusals returns why the API server refuses an object, one "FIELD: WORDS" for each
// rule that is broken.
func refusals(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	status, ok := err.(apierrors.APIStatus)
	if !ok || !apierrors.IsInvalid(err) {
		t.Fatalf("not a refusal of what was written: %v", err)
	}
	var all []string
	for _, cause := range status.Status().Details.Causes {
		// Told of all rules beside a field that has the wrong form.
		if strings.Contains(cause.Message, "some validation rules were not checked") {
			continue
		}
		words := cause.Message
		for _, prefix := range []string{`Invalid value: "object": `, `Invalid value: "string": `, `Invalid value: "": `} {
			words = strings.TrimPrefix(words, prefix)
		}
		all = append(all, cause.Field+": "+words)
	}
	return all
}

// many is a list in YAML's short form.
func many(item string, n int) string {
	return "[" + strings.TrimSuffix(strings.Repeat(item+", ", n), ", ") + "]"
}

const (
	delayWords    = "want a time with the unit us, ms or s, such as 500us, 1.5ms or 2s, from 1us to 600s"
	durationWords = "want how long it lasts, such as 90s, 10m or 1h30m, from 1s to 720h"
	lifeWords     = "spec: want either duration, such as 10m, or untilDeleted: true"
	aloneWords    = "spec: a partition drops every packet: want it alone"
	jitterWords   = "spec: jitter spreads a delay: want rtt or delay with it"
	spreadWords   = "spec: distribution and correlation are those of the jitter: want jitter with them"
	reorderWords  = "spec: packets overtake those that are delayed: want rtt or delay with reorder"
	selectorWords = "a selector is empty: want a component such as tikv or pd(leader), all, others, pod/NAME or cidr/ADDRESS/BITS"
	rateWords     = "spec.rate.perSecond: want a number with the unit bit, kbit, mbit or gbit, such as 800kbit, 10mbit or 1.5gbit, from 8kbit to 100gbit"
	oneLossWords  = "spec.loss: want exactly one of percent, gilbertElliott and fourState"
	clusterWords  = "want the name of a TidbCluster in this namespace: lower-case letters, digits, - and ., such as basic"
	portWords     = `want a port from 1 to 65535, or a range such as "20160-20180"`
)

// refusedFaults are specs, and in whose words each is refused: all of them, so that no
// rule speaks up where another one is broken.
var refusedFaults = map[string][]string{
	"cluster: null":                       {"spec.cluster: Required value"},
	"cluster: ''":                         {"spec.cluster: spec.cluster in body should be at least 1 chars long"},
	"cluster: " + strings.Repeat("c", 64): {"spec.cluster: Too long: may not be more than 63 bytes"},
	"cluster: BASIC":                      {"spec.cluster: " + clusterWords},
	"cluster: db2/far":                    {"spec.cluster: " + clusterWords},
	"cluster: basic-":                     {"spec.cluster: " + clusterWords},
	"cluster: basic..far":                 {"spec.cluster: " + clusterWords},
	"from: null":                          {"spec.from: Required value"},
	"from: []":                            {"spec.from: Invalid value: 0: spec.from in body should have at least 1 items"},
	"from: ['']":                          {"spec.from[0]: " + selectorWords},
	"from: [tikv, ' ']":                   {"spec.from[1]: " + selectorWords},
	"from: " + many("tikv", 17):           {"spec.from: Too many: 17: must have at most 16 items"},

	"from: [" + strings.Repeat("s", 254) + "]": {"spec.from[0]: Too long: may not be more than 253 bytes"},
	"to: []":                  {"spec.to: Invalid value: 0: spec.to in body should have at least 1 items"},
	"to: ['']":                {"spec.to[0]: " + selectorWords},
	"to: " + many("tikv", 17): {"spec.to: Too many: 17: must have at most 16 items"},

	"duration: null":                                       {lifeWords},
	"duration: null, untilDeleted: false":                  {lifeWords},
	"untilDeleted: true":                                   {lifeWords},
	"rtt: null":                                            {"spec: nothing is asked for: want at least one of rtt, delay, loss, duplicate, corrupt, rate and partition"},
	"delay: 1ms":                                           {"spec: want rtt, which is of the round trip, or delay, which is each way, and not both"},
	"oneWay: true":                                         {"spec: with oneWay there is no round trip: want delay instead of rtt"},
	"partition: true":                                      {aloneWords},
	"rtt: null, partition: true, delay: 1ms":               {aloneWords},
	"rtt: null, partition: true, jitter: 1ms":              {aloneWords, jitterWords},
	"rtt: null, partition: true, loss: {percent: 1}":       {aloneWords},
	"rtt: null, partition: true, duplicate: {percent: 1}":  {aloneWords},
	"rtt: null, partition: true, corrupt: {percent: 1}":    {aloneWords},
	"rtt: null, partition: true, reorder: {percent: 1}":    {aloneWords, reorderWords},
	"rtt: null, partition: true, rate: {perSecond: 1mbit}": {aloneWords},
	"rtt: null, jitter: 1ms":                               {jitterWords},
	"rtt: null, loss: {percent: 1}, jitter: 1ms":           {jitterWords},
	"rtt: null, reorder: {percent: 1}":                     {reorderWords},
	"distribution: normal":                                 {spreadWords},
	"correlation: 25":                                      {spreadWords},
	"protocol: icmp, ports: [2379]":                        {"spec: icmp has no ports: want tcp, udp or no protocol with ports"},

	"jitter: 1h":                         {"spec.jitter: " + delayWords},
	"rtt: null, delay: 1h":               {"spec.delay: " + delayWords},
	"jitter: 5ms, distribution: poisson": {`spec.distribution: Unsupported value: "poisson": supported values: "uniform", "normal", "pareto", "paretonormal"`},
	"jitter: 5ms, correlation: 101":      {"spec.correlation: Invalid value: 101: spec.correlation in body should be less than or equal to 100"},
	"jitter: 5ms, correlation: -1":       {"spec.correlation: Invalid value: -1: spec.correlation in body should be greater than or equal to 0"},

	"loss: {}": {oneLossWords},
	"loss: {percent: 1, fourState: {p13: 1, p31: 1}}":     {oneLossWords},
	"loss: {fourState: {p13: 1, p31: 1}, correlation: 1}": {"spec.loss: correlation is that of percent: want percent with it"},
	"loss: {percent: 0}":                               {"spec.loss.percent: Invalid value: 0: spec.loss.percent in body should be greater than 0"},
	"loss: {percent: 100.1}":                           {"spec.loss.percent: Invalid value: 100.1: spec.loss.percent in body should be less than or equal to 100"},
	"loss: {gilbertElliott: {toBad: 1, lossInBad: 1}}": {"spec.loss.gilbertElliott.toGood: Required value"},
	"loss: {fourState: {p13: 1}}":                      {"spec.loss.fourState.p31: Required value"},
	"duplicate: {}":                                    {"spec.duplicate.percent: Required value"},
	"corrupt: {percent: 0}":                            {"spec.corrupt.percent: Invalid value: 0: spec.corrupt.percent in body should be greater than 0"},
	"reorder: {percent: 1, gap: 0}":                    {"spec.reorder.gap: Invalid value: 0: spec.reorder.gap in body should be greater than or equal to 1"},
	"reorder: {percent: 1, gap: 1000001}":              {"spec.reorder.gap: Invalid value: 1000001: spec.reorder.gap in body should be less than or equal to 1000000"},
	"rate: {}":                                         {"spec.rate.perSecond: Required value"},
	"rate: {perSecond: '10'}":                          {rateWords},
	"rate: {perSecond: 10mbps}":                        {rateWords},
	"rate: {perSecond: 1mbit, packetOverhead: -10001}": {"spec.rate.packetOverhead: Invalid value: -10001: spec.rate.packetOverhead in body should be greater than or equal to -10000"},
	"rate: {perSecond: 1mbit, cellSize: 10001}":        {"spec.rate.cellSize: Invalid value: 10001: spec.rate.cellSize in body should be less than or equal to 10000"},
	"rate: {perSecond: 1mbit, cellOverhead: 10001}":    {"spec.rate.cellOverhead: Invalid value: 10001: spec.rate.cellOverhead in body should be less than or equal to 10000"},

	"ports: []":                 {"spec.ports: Invalid value: 0: spec.ports in body should have at least 1 items"},
	"ports: [0]":                {"spec.ports[0]: " + portWords + ", and not 0"},
	"ports: [80, 65536]":        {"spec.ports[1]: " + portWords + ", and not 65536"},
	"ports: " + many("80", 17):  {"spec.ports: Too many: 17: must have at most 16 items"},
	"protocol: sctp":            {`spec.protocol: Unsupported value: "sctp": supported values: "tcp", "udp", "icmp"`},
	"seed: -1":                  {"spec.seed: Invalid value: -1: spec.seed in body should be greater than or equal to 0"},
	"seed: 9007199254740992":    {"spec.seed: Invalid value: 9007199254740992: spec.seed in body should be less than or equal to 9007199254740991"},
	"allow: [Quorum]":           {`spec.allow[0]: Unsupported value: "Quorum": supported values: "QuorumLoss", "Failover", "LongDelay", "UnhealthyStart", "Upgrade", "Partial"`},
	"allow: [Upgrade, Upgrade]": {`spec.allow[1]: Duplicate value: "Upgrade"`},
}

// Each rule refuses in words that a person understands, and names the field.
func TestFaultsAreRefused(t *testing.T) {
	n := newNamespace(t)
	all := maps.Clone(refusedFaults)
	for _, text := range []string{"", "50", "50m", "1h", "-5ms", "0ms", "0.5us", "601s", "600.1s", "5 ms", "5MS", ".5ms", "1.5.5ms", "1s500ms", "1e3ms"} {
		all["rtt: "+strconv.Quote(text)] = []string{"spec.rtt: " + delayWords}
	}
	for _, text := range []string{"", "10", "m", "0s", "0.5s", "500ms", "721h", "720h1s", "1d", "-1m", "10m5", "1s1m", "1h 30m", "forever"} {
		all["duration: "+strconv.Quote(text)] = []string{"spec.duration: " + durationWords}
	}
	for field, text := range map[string]string{"rtt": "1." + strings.Repeat("0", 30) + "s", "duration": strings.Repeat("1", 32) + "s"} {
		all[field+": "+text] = []string{"spec." + field + ": Too long: may not be more than 32 bytes"}
	}
	for fields, want := range all {
		t.Run(fields[:min(len(fields), 60)], func(t *testing.T) {
			err := world.client.Create(t.Context(), n.fault("refused", fields), client.DryRunAll, strictly)
			got := refusals(t, err)
			if diff := cmp.Diff(want, got, cmpopts.SortSlices(strings.Compare)); diff != "" {
				t.Errorf("refused in other words (-want +got):\n%s", diff)
			}
		})
	}
}

// acceptedFaults are the least and the most of each field, and combinations of fields.
var acceptedFaults = []string{
	"",
	"rtt: 1us", "rtt: 600s", "rtt: 1.5ms", "rtt: 599999999us, duration: 720h", "rtt: 600000ms", "duration: 1s", "duration: 1h30m0.5s", "duration: 0.5h",
	"cluster: " + strings.Repeat("c", 63), "cluster: 2.basic-far",
	"from: " + many(strings.Repeat("f", 253), 16) + ", to: " + many(strings.Repeat("t", 253), 16),
	`from: ["tikv(random)", "pod/basic-tikv-0"], to: ["pd(leader)@zone-a", others, cidr/10.0.0.0/8]`,
	"duration: null, untilDeleted: true", "duration: null, untilDeleted: true, paused: true", "untilDeleted: false",
	"rtt: null, delay: 25ms", "rtt: null, delay: 25ms, oneWay: true", "rtt: null, partition: true", "rtt: null, partition: true, oneWay: true",
	"jitter: 5ms", "jitter: 5ms, distribution: paretonormal, correlation: 100", "jitter: 5ms, correlation: 0",
	"rtt: null, loss: {percent: 0.0001}", "loss: {percent: 100, correlation: 25}", "rtt: null, loss: {percent: 1}, oneWay: true",
	"loss: {gilbertElliott: {toBad: 1, toGood: 20, lossInBad: 100, lossInGood: 0.1}}", "loss: {fourState: {p13: 1, p31: 20, p32: 0, p23: 100, p14: 0.1}}",
	"rtt: null, duplicate: {percent: 1, correlation: 25}", "rtt: null, corrupt: {percent: 1}", "reorder: {percent: 25, correlation: 50, gap: 1000000}",
	"rtt: null, rate: {perSecond: 1.5gbit}", "rate: {perSecond: 8kbit, packetOverhead: -10000, cellSize: 53, cellOverhead: 10000}",
	`ports: [1, 65535, "20160-20180"], protocol: tcp`, "ports: " + many("80", 16) + ", protocol: udp", "protocol: icmp",
	"seed: 9007199254740991", "allow: [QuorumLoss, Failover, LongDelay, UnhealthyStart, Upgrade, Partial]", "allow: []",
}

// What can be meant is taken, the longest lists of the longest texts too: no rule costs
// more than the API server allows.
func TestFaultsAreAccepted(t *testing.T) {
	n := newNamespace(t)
	for _, fields := range acceptedFaults {
		t.Run(fields[:min(len(fields), 60)], func(t *testing.T) {
			must(t, world.client.Create(t.Context(), n.fault("accepted", fields), client.DryRunAll, strictly))
		})
	}
}
