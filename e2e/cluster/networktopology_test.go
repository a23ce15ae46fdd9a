//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// What is between three zones, before and after a change. Of the pings of a stream, which are
// 50 ms apart, an agent always holds one where half of the RTT is so long: one that is dropped
// by a change is seen.
var (
	far     = links{{"a", "b"}: 100 * time.Millisecond, {"a", "c"}: 140 * time.Millisecond, {"b", "c"}: 40 * time.Millisecond}
	farther = links{{"a", "b"}: 120 * time.Millisecond, {"a", "c"}: 140 * time.Millisecond, {"b", "c"}: 40 * time.Millisecond}
)

// A topology is the ground on which faults add: the RTT between two pods is that between
// their zones and of the fault together. Without the fault the ground is left, and a link that
// is changed takes effect in place.
func TestNetworkTopologySpread(t *testing.T) {
	ctx := onFaulted(t, needs(theController), changes(theMachine)) // the stream shows each late packet
	theFaulted.runTopology(ctx, t, "ground", "spread: 3, untilDeleted: true, "+far.spec())
	theFaulted.wantMatrix(ctx, t, "dealt out to three zones", far.of(dealt(3)))
	theFaulted.run(ctx, t, "slow", `from: ["tikv(0)"], rtt: 50ms, duration: 10m`)
	theFaulted.wantMatrix(ctx, t, "a fault on top", sum(far.of(dealt(3)), slowTiKV(added)))
	theFaulted.remove(ctx, t, "slow")
	theFaulted.wantMatrix(ctx, t, "the fault is deleted", far.of(dealt(3)))

	stream := theFaulted.stream(ctx, t, "tikv-0", "pd-1", 8*time.Second)
	theFaulted.runTopology(ctx, t, "ground", "spread: 3, untilDeleted: true, "+farther.spec())
	theFaulted.wantMatrix(ctx, t, "a link is changed", farther.of(dealt(3)))
	wantInPlace(t, stream(), far[link{"a", "b"}], farther[link{"a", "b"}])
}

// A pod that is moved to another zone has what is between that one and the others from then
// on, and no packet is lost by it. A pod in no zone has nothing between it and others.
func TestNetworkTopologyPodMoved(t *testing.T) {
	ctx := onFaulted(t, needs(theController), changes(theMachine)) // the stream shows each late packet
	zones := zoning{
		"pd-0": "a", "tikv-0": "a", "tidb-0": "a", "tidb-1": "a", "tiflash-0": "a",
		"pd-1": "b", "tikv-1": "b", "pd-2": "c", "tikv-2": "c",
	}
	status := theFaulted.runTopology(ctx, t, "ground", zones.spec()+", untilDeleted: true, "+far.spec())
	if want := []string{ofFaulted("ticdc-0"), ofFaulted("ticdc-1")}; status.Zoned != "9/11" || !slices.Equal(status.Unzoned, want) {
		t.Errorf("zoned %s, in no zone %v, want 9/11 and %v", status.Zoned, status.Unzoned, want)
	}
	theFaulted.wantMatrix(ctx, t, "zones by a list", far.of(zones))

	stream := theFaulted.stream(ctx, t, "tikv-1", "pd-0", 8*time.Second)
	zones["tikv-1"] = "c"
	theFaulted.runTopology(ctx, t, "ground", zones.spec()+", untilDeleted: true, "+far.spec())
	theFaulted.wantMatrix(ctx, t, "tikv-1 is moved", far.of(zones))
	wantInPlace(t, stream(), far[link{"a", "b"}], far[link{"a", "c"}])
}

// One topology of a TidbCluster is in force. The other waits, says for which one, and starts
// when that one ends.
func TestNetworkTopologiesTakeTurns(t *testing.T) {
	ctx := onFaulted(t)
	theFaulted.runTopology(ctx, t, "first", "spread: 3, untilDeleted: true, "+far.spec())
	theFaulted.applyKind(ctx, t, "NetworkTopology", faulted, "second", "spread: 2, untilDeleted: true, defaults: {otherZone: 50ms}")
	waiting := theFaulted.wantTopology(ctx, t, "second", v1alpha1.Pending, "AnotherTopology")
	t.Logf("the second: %s", waiting.Message)
	if !strings.Contains(waiting.Message, "first") {
		t.Errorf("the message %q does not name the topology that is in force", waiting.Message)
	}
	theFaulted.wantMatrix(ctx, t, "the first is in force", far.of(dealt(3)))
	theFaulted.removeObject(ctx, t, &v1alpha1.NetworkTopology{ObjectMeta: theFaulted.named("first")})
	theFaulted.wantTopology(ctx, t, "second", v1alpha1.Running, "Applied")
	theFaulted.wantMatrix(ctx, t, "the second is in force", links{{"a", "b"}: added}.of(dealt(2)))
}

// runTopology applies a NetworkTopology of the TidbCluster faulted and waits until every agent
// has it. The spec is YAML on one line, without the cluster.
func (w *world) runTopology(ctx context.Context, t *testing.T, name, spec string) v1alpha1.NetworkTopologyStatus {
	t.Helper()
	w.applyKind(ctx, t, "NetworkTopology", faulted, name, spec)
	status := w.wantTopology(ctx, t, name, v1alpha1.Running, "Applied")
	t.Logf("NetworkTopology %s {%s}: %s, zoned %s, applied at %s", name, spec, status.What, status.Zoned, status.Applied)
	return status
}

// wantTopology is wantPhase of a NetworkTopology.
func (w *world) wantTopology(ctx context.Context, t *testing.T, name string, phase v1alpha1.Phase, reason string) v1alpha1.NetworkTopologyStatus {
	t.Helper()
	var nt v1alpha1.NetworkTopology
	w.wantLife(ctx, t, name, &nt, &nt.Status.Life, phase, reason)
	return nt.Status
}

// zoning says in which zone a member is. One that is missing is in none.
type zoning map[string]string

// dealt deals the members of the TidbCluster faulted out to so many zones, as spread does.
func dealt(zones int) zoning {
	z := zoning{}
	for _, member := range members(faulted) {
		number := int(member[len(member)-1] - '0')
		z[member] = string(rune('a' + number%zones))
	}
	return z
}

// spec is the zoning as a list in YAML, with each member as the pick of a component.
func (z zoning) spec() string {
	members := map[string][]string{}
	for _, member := range slices.Sorted(maps.Keys(z)) {
		component, number, _ := strings.Cut(member, "-")
		members[z[member]] = append(members[z[member]], fmt.Sprintf(`"%s(%s)"`, component, number))
	}
	var list []string
	for _, zone := range slices.Sorted(maps.Keys(members)) {
		list = append(list, fmt.Sprintf("{name: %s, members: [%s]}", zone, strings.Join(members[zone], ", ")))
	}
	return "zones: [" + strings.Join(list, ", ") + "]"
}

// link are two zones, the first by name first.
type link struct{ a, b string }

// links are RTTs between zones. There is none between zones that are missing.
type links map[link]time.Duration

// of wishes the RTTs between the members of zones.
func (l links) of(zones zoning) wish {
	return func(p pair) time.Duration {
		a, b := zones[p.a], zones[p.b]
		return l[link{min(a, b), max(a, b)}]
	}
}

// spec is the links in YAML.
func (l links) spec() string {
	var list []string
	for between, rtt := range l {
		list = append(list, fmt.Sprintf("{between: [%s, %s], rtt: %s}", between.a, between.b, rtt))
	}
	return "links: [" + strings.Join(list, ", ") + "]"
}
