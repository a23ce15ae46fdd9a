//go:build e2e

package cluster

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// Each selector and each pick means the pods that it should: their pairs with the other
// side have the RTT, and no other pair has.
func TestNetworkFaultSelectors(t *testing.T) {
	ctx := onFaulted(t)
	theFaulted.setRoles(ctx, t, roles{"pd-1", "tikv-2", "ticdc-1"})
	all, owner := members(faulted), theFaulted.owner(ctx, t)
	tikvs, pds := []string{"tikv-0", "tikv-1", "tikv-2"}, []string{"pd-0", "pd-1", "pd-2"}
	for name, test := range map[string]struct {
		spec     string
		from, to []string // nil for all others
	}{
		"an ordinal":                {`from: ["tikv(0)"]`, []string{"tikv-0"}, nil},
		"a store by its ID":         {`from: ["tikv(store=` + theFaulted.store(ctx, t, "tikv-1") + `)"]`, []string{"tikv-1"}, nil},
		"the leader":                {`from: ["pd(leader)"]`, []string{"pd-1"}, nil},
		"the leader, as QA says":    {`from: [pdleader]`, []string{"pd-1"}, nil},
		"the followers":             {`from: ["pd(follower)"]`, []string{"pd-0", "pd-2"}, nil},
		"all followers, as QA says": {`from: ["pd(follower-all)"]`, []string{"pd-0", "pd-2"}, nil},
		"leader to followers of QA": {`from: [pdleader], to: ["pdfollower(all)"]`, []string{"pd-1"}, []string{"pd-0", "pd-2"}},
		"the leader to followers":   {`from: ["pd(leader)"], to: ["pd(follower)"]`, []string{"pd-1"}, []string{"pd-0", "pd-2"}},
		"the busiest":               {`from: ["tikv(busiest)"]`, []string{theFaulted.busiest(ctx, t)}, nil},
		"the owner":                 {`from: ["ticdc(owner)"], to: [tikv]`, []string{owner}, tikvs},
		"the owner, as QA says":     {`from: [ticdcowner]`, []string{owner}, nil},
		"TiCDC":                     {`from: [ticdc], to: [pd]`, []string{"ticdc-0", "ticdc-1"}, pds},
		"TiFlash":                   {`from: [tiflash]`, []string{"tiflash-0"}, nil},
		"TiFlash by its store's ID": {`from: [tidb], to: ["tiflash(store=` + theFaulted.store(ctx, t, "tiflash-0") + `)"]`, []string{"tidb-0", "tidb-1"}, []string{"tiflash-0"}},
		"a component":               {`from: [tidb]`, []string{"tidb-0", "tidb-1"}, nil},
		"a component within itself": {`from: [tikv], to: [tikv]`, tikvs, tikvs},
		"several of a list":         {`from: ["tikv(0)", "tidb(1)"]`, []string{"tikv-0", "tidb-1"}, nil},
		"several of a text":         {`from: ["tikv(0), tidb(1)"]`, []string{"tikv-0", "tidb-1"}, nil},
		"all to all":                {`from: [all], to: [all]`, all, all},
		"others":                    {`from: [pd], to: [others]`, pds, nil},
		"a pod by its name":         {`from: [pod/faulted-tidb-0], to: [pd]`, []string{"tidb-0"}, pds},
	} {
		t.Run(name, func(t *testing.T) {
			theFaulted.run(ctx, t, "selected", test.spec+", rtt: 50ms, untilDeleted: true")
			// Exactly these pairs: nothing is left of the one before.
			theFaulted.wantMatrix(ctx, t, test.spec, between(test.from, test.to, added))
			theFaulted.remove(ctx, t, "selected")
		})
	}
}

// selected returns the members that the status says a selector selected.
func selected(status v1alpha1.NetworkFaultStatus, selector string) []string {
	var all []string
	for _, s := range status.Selected {
		if s.Selector == selector {
			all = append(all, strings.TrimPrefix(s.Pod, faulted+"-"))
		}
	}
	return all
}

// What is picked at random is as many pods as it should be, those that the status names,
// and the same for the same seed.
func TestNetworkFaultRandomPicks(t *testing.T) {
	ctx := onFaulted(t)
	for spec, want := range map[string]struct {
		from, to string
		n, m     int // pods on the sides; m 0 for all others
	}{
		`from: ["tikv(random)"], seed: 7`:                                  {"tikv(random)", "", 1, 0},
		`from: ["tikv(random:2)"], seed: 7`:                                {"tikv(random:2)", "", 2, 0},
		`from: ["tikv(minority)"], to: ["tikv(majority)"], seed: 7`:        {"tikv(minority)", "tikv(majority)", 1, 2},
		`from: ["tidb(half)"], to: ["pd(random)"], seed: 9007199254740991`: {"tidb(half)", "pd(random)", 1, 1},
	} {
		t.Run(spec, func(t *testing.T) {
			pick := func() (from, to []string) {
				t.Helper()
				status := theFaulted.run(ctx, t, "picked", spec+", rtt: 50ms, untilDeleted: true")
				return selected(status, want.from), selected(status, want.to)
			}
			from, to := pick()
			if len(from) != want.n || len(to) != want.m {
				t.Fatalf("selected %v and %v, want %d and %d", from, to, want.n, want.m)
			}
			theFaulted.wantMatrix(ctx, t, spec, between(from, to, added)) // to is nil for all others
			theFaulted.remove(ctx, t, "picked")
			if againFrom, againTo := pick(); !slices.Equal(from, againFrom) || !slices.Equal(to, againTo) {
				t.Errorf("with the same seed %v and %v, before %v and %v", againFrom, againTo, from, to)
			}
			theFaulted.remove(ctx, t, "picked")
		})
	}
}

// A role is that of the moment when the fault starts: it stays with its pod.
func TestNetworkFaultRoleIsPinned(t *testing.T) {
	ctx := onFaulted(t)
	theFaulted.setRoles(ctx, t, roles{"pd-1", "tikv-2", "ticdc-0"})
	theFaulted.run(ctx, t, "pinned", `from: ["pd(leader)"], rtt: 50ms, untilDeleted: true`)
	theFaulted.setRoles(ctx, t, roles{"pd-2", "tikv-2", "ticdc-0"})
	theFaulted.run(ctx, t, "later", `from: ["pd(leader)"], rtt: 80ms, untilDeleted: true`)
	theFaulted.wantMatrix(ctx, t, "the old leader and the new one", sum(
		between([]string{"pd-1"}, nil, added), between([]string{"pd-2"}, nil, 80*time.Millisecond)))
}

// sum wishes what all wishes are together.
func sum(all ...wish) wish {
	return func(p pair) time.Duration {
		total := time.Duration(0)
		for _, w := range all {
			total += w(p)
		}
		return total
	}
}

// Addresses outside the cluster: the whole round trip is added where there is an agent.
func TestNetworkFaultOutsideAddresses(t *testing.T) {
	ctx := onFaulted(t)
	var outside corev1.Pod
	if err := theFaulted.Get(ctx, pinger, theFaulted.namespace, &outside); err != nil {
		t.Fatal(err)
	}
	theFaulted.run(ctx, t, "outside", `from: ["tikv(1)"], to: [cidr/`+outside.Status.PodIP+`/32], rtt: 50ms, untilDeleted: true`)
	meant, other := theFaulted.member(ctx, t, "tikv-1").Status.PodIP, theFaulted.member(ctx, t, "tikv-0").Status.PodIP
	theFaulted.wantLeast(ctx, t, pinger, meant, added)
	theFaulted.wantLeast(ctx, t, pinger, other, 0)
	theWorld.wantLeast(ctx, t, pinger, meant, 0) // from another address
	theFaulted.wantFlat(ctx, t, "within the cluster")
}
