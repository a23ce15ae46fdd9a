package object_test

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/plugin/object"
)

// All fields that differ are told, but for how long an object lasts, and none is too long.
func TestDifferences(t *testing.T) {
	before := object.NewFault("db", "slow", v1alpha1.NetworkFaultSpec{Cluster: "basic", RTT: "50ms", Jitter: "5ms", Loss: &v1alpha1.Loss{Percent: new(v1alpha1.Percent(1))}, Duration: "2h"})
	after := object.NewFault("db", "slow", v1alpha1.NetworkFaultSpec{Cluster: "basic", Delay: "80ms", OneWay: true, From: []v1alpha1.Selector{"tikv", "pd"}, UntilDeleted: true})
	differ := func(before, after client.Object) []object.Difference {
		t.Helper()
		all, err := object.Differences(before, after)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if got, want := fmt.Sprint(differ(before, after)), "[{from not set tikv, pd} {jitter 5ms not set} {loss 1 not set} {oneWay not set true} {rtt 50ms 80ms}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := differ(before, before); len(got) > 0 {
		t.Errorf("%v between an object and itself", got)
	}
	var links []v1alpha1.Link
	for range 100 {
		links = append(links, v1alpha1.Link{Between: []v1alpha1.ZoneName{"a", "b"}, RTT: "1ms"})
	}
	short, long := object.NewTopology("db", "t", v1alpha1.NetworkTopologySpec{Profile: "three-az"}), object.NewTopology("db", "t", v1alpha1.NetworkTopologySpec{Links: links})
	got := differ(short, long)
	if len(got) != 2 || len(got[0].Is) > 90 || !strings.HasPrefix(got[0].Is, "between a, b rtt 1ms, ") || !strings.HasSuffix(got[0].Is, "...") {
		t.Errorf("%+v", got)
	}
}
