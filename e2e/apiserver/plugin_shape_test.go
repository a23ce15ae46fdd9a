//go:build apiserver

package apiserver

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// What a shape names is cut off, and nothing else. A ring is written, changed and ended whole.
func (f *fleet) pluginShapes(t *testing.T) {
	d := f.database(t, nil)
	p := d.operator()
	partition := func(args ...string) said {
		t.Helper()
		return p.runs(append([]string{"partition", "basic", "--timeout=3m"}, args...)...)
	}
	partition("--shape=isolate", "--of=pd(leader)", "--wait").wants(t, 0, "in force at 3/3 pods", "measured as asked for at 3/3 pods")
	d.wantEffects(d.between("pd-0", "pd", "cut"))
	p.runs("clear", "basic-pd-leader-isolate").wants(t, 0, "cleared")
	partition("--shape=bridge", "--of=tikv", "--wait").wants(t, 0, "in force at 2/2 pods")
	d.wantEffects(d.between("tikv-0", "tikv-2", "cut"))
	p.runs("clear", "basic-tikv-bridge").wants(t, 0, "cleared")
	partition("--shape=halves", "--of=tikv", "--wait").wants(t, 0, "in force at 3/3 pods")
	halves := d.between("tikv-0", "tikv", "cut")
	d.wantEffects(halves)

	partition("--shape=ring", "--of=pd,tikv").wants(t, 3, "QuorumLoss", "nothing was changed")
	ring := []string{"--shape=ring", "--of=tidb,tikv", "--name=round", "--wait"}
	partition(ring...).wants(t, 0, "round-1: in force at 3/3 pods", "round-2: in force at 3/3 pods", "round-3: in force at 2/2 pods")
	parts := []string{"round-1", "round-2", "round-3"}
	d.wantEffects(halves.and(d.between("tidb-0", "tikv-0", "cut"), d.between("tidb-0", "tikv-1", "cut"),
		d.between("tidb-1", "tikv-1", "cut"), d.between("tidb-1", "tikv-2", "cut"), d.between("tikv-0", "tikv-2", "cut")))
	before := map[string]types.UID{}
	for _, name := range parts {
		before[name] = d.read(name).UID
	}
	partition(append(ring, "--for=5m")...).wants(t, 0, "round-3: in force at 2/2 pods")
	for _, name := range parts {
		if after := d.read(name); after.UID != before[name] || after.Spec.Duration == "2m" {
			t.Errorf("%s lasts %s; want the one that was there, changed", name, after.Spec.Duration)
		}
	}
	d.create("mine", "from: [tidb], to: [pd(1)], rtt: 10ms")
	d.becomes("mine", "Running Applied 3/3")
	p.runs("clear", "round").wants(t, 0, "NetworkFault round-1 cleared", "NetworkFault round-3 cleared")
	if got := d.faults(); !slices.Equal(got, []string{"basic-tikv-halves", "mine"}) {
		t.Errorf("left: %q", got)
	}
	d.wantEffects(halves.and(d.between("tidb", "pd-1", "5ms")))
}

// Where one part of a ring can't be written, none is.
func (f *fleet) pluginRingFails(t *testing.T) {
	d := f.database(t, nil)
	p := d.operator()
	d.create("round-3", "cluster: another")
	p.runs("partition", "basic", "--shape=ring", "--of=tidb,tikv", "--name=round").
		wants(t, 2, "NetworkFault round-3 is there already, for TidbCluster another")
	if got := d.faults(); !slices.Equal(got, []string{"round-3"}) {
		t.Errorf("left: %q", got)
	}
	d.wantEffects(effects{})
}
