package compile

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// manyPods is a cluster of 200 pods under five objects, each from 40 of them to all, of
// which one has ports.
func manyPods() (objects []Object, pods []Pod) {
	var all []string
	for i := range 200 {
		name := fmt.Sprintf("basic-tikv-%d", i)
		all = append(all, name)
		pods = append(pods, Pod{Name: name, Agent: true, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i / 250), byte(i%250 + 1)})}})
	}
	for i := range 5 {
		o := late(fmt.Sprintf("object-%d", i), int64(i), time.Duration(i+1)*time.Millisecond, all[i*40:i*40+40], all)
		o.RoundTrip = i%2 == 0
		objects = append(objects, o)
	}
	objects[4].Ports = []api.PortRange{{First: 20160, Last: 20160}}
	return objects, pods
}

func BenchmarkCompile(b *testing.B) {
	objects, pods := manyPods()
	plan := Compile(objects, pods)
	if len(plan.Refused) > 0 || len(plan.Faults) != len(pods) {
		b.Fatalf("%d pods, refused %+v", len(plan.Faults), plan.Refused)
	}
	for b.Loop() {
		Compile(objects, pods)
	}
}

// manyZonedPods is a cluster of 200 pods in five zones, under five objects, each from one
// of them to all, of which one has ports.
func manyZonedPods() (objects []Object, pods []Pod) {
	objects, pods = manyPods()
	for i := range objects {
		objects[i].From = objects[i].From[:1]
	}
	ground := zoned(0, "", make(map[Way]fault.Impairment))
	for i, pod := range pods {
		ground.Topology.Zones[pod.Name] = string(rune('a' + i%5))
	}
	for from := range 5 {
		for to := range 5 {
			ground.Topology.Links[Way{string(rune('a' + from)), string(rune('a' + to))}] = fault.Impairment{Delay: time.Duration(from+to+1) * time.Millisecond}
		}
	}
	return append(objects, ground), pods
}

func BenchmarkCompileTopology(b *testing.B) {
	objects, pods := manyZonedPods()
	plan := Compile(objects, pods)
	if len(plan.Refused) > 0 || len(plan.Faults) != len(pods) {
		b.Fatalf("%d pods, refused %+v", len(plan.Faults), plan.Refused)
	}
	for b.Loop() {
		Compile(objects, pods)
	}
}

func BenchmarkEffects(b *testing.B) {
	objects, pods := manyPods()
	plan := Compile(objects, pods)
	if pairs := plan.Effects(pods); len(pairs) != 200*199/2 {
		b.Fatalf("%d pairs", len(pairs))
	}
	for b.Loop() {
		plan.Effects(pods)
	}
}
