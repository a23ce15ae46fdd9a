package verify

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"

	"github.com/tidelay/tidelay/pkg/networkfault/compile"
)

// pair is two pods that have objects between them, by a family of addresses.
type pair struct {
	from, to *Pod
	v6       bool
	// objects are those that it may show, by name, and hidden those that it can't, since nothing
	// gets through others.
	objects, hidden []string
	// cuts are the objects through which nothing gets, be it to some ports only, and isCut is
	// whether nothing gets to any.
	cuts  []string
	isCut bool
	// rank is the pair's place among all.
	rank [sha256.Size]byte
}

// pairs returns all pairs of pods between which faults are measured, in an order that only the names
// of the two pods decide. So the first pair that covers an item stays the first, whichever
// others come and go, and not all pods measure to the same one.
func (p *planner) pairs() []*pair {
	byAddr := map[netip.Addr]int{}
	for i, pod := range p.pods {
		for _, addr := range pod.Addrs {
			byAddr[addr] = i
		}
	}
	type key struct {
		a, b int
		v6   bool
	}
	byKey := map[key]*pair{}
	var all []*pair
	for i := range p.pods {
		for _, f := range p.pods[i].Faults {
			if !isMeasured(f.Impairment) {
				continue
			}
			for _, peer := range f.Match.Peers {
				j, ok := byAddr[peer.Addr()]
				if !peer.IsSingleIP() || !ok {
					for _, object := range f.Objects {
						p.unseen(object, reason{outside, "it is for addresses outside the pods, or for pods of which nobody knows what they hold"})
					}
					continue
				}
				if j == i {
					continue
				}
				k := key{min(i, j), max(i, j), peer.Addr().Is6()}
				if byKey[k] == nil {
					byKey[k] = newPair(&p.pods[k.a], &p.pods[k.b], k.v6)
					all = append(all, byKey[k])
				}
				byKey[k].add(&f)
			}
		}
	}
	for _, one := range all {
		one.settle()
	}
	slices.SortFunc(all, func(a, b *pair) int { return bytes.Compare(a.rank[:], b.rank[:]) })
	return all
}

// newPair returns the pair of two pods, the first of which has the lesser name.
func newPair(a, b *Pod, v6 bool) *pair {
	one := &pair{from: a, to: b, v6: v6, rank: sha256.Sum256(fmt.Appendf(nil, "%s/%s/%t", a.Name, b.Name, v6))}
	if one.rank[sha256.Size-1]%2 == 1 {
		one.from, one.to = b, a
	}
	return one
}

// add adds a fault for packets between the two.
func (p *pair) add(f *compile.Fault) {
	p.objects, p.cuts = union(p.objects, f.Objects), union(p.cuts, f.Cuts)
	isForAll := f.Match.Protocol == "" && len(f.Match.RemotePorts) == 0 && len(f.Match.LocalPorts) == 0
	p.isCut = p.isCut || isForAll && len(f.Cuts) > 0
}

// settle finds out which of the objects the pair may show, once all faults are known.
func (p *pair) settle() {
	if p.isCut {
		p.objects, p.hidden = p.cuts, without(p.objects, p.cuts)
	}
	p.objects = slices.Sorted(slices.Values(p.objects))
}
