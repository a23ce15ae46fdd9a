package compile

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
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
