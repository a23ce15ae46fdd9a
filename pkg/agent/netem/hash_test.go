package netem

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/tidelay/tidelay/pkg/fault"
)

// randomList returns filters for prefixes of many lengths, some of which are for one
// protocol, in the order of the rules, between filters that have no address.
func randomList(random *rand.Rand, f family) []filter {
	var faults []fault.Fault
	for i := range 12 {
		m := fault.Match{Direction: fault.Egress, Protocol: []string{"", "", "tcp", "udp"}[random.IntN(4)]}
		for range random.IntN(60) {
			m.Peers = append(m.Peers, randomPrefix(random, f))
		}
		if len(m.Peers) > 0 {
			faults = append(faults, matched(fmt.Sprint(i), m, ms))
		}
	}
	d := desiredAt(egress, faults, fault.Exemption{ControlPort: 2332}, 1<<20)
	bands := make(map[string]uint8)
	for i, name := range d.names() {
		bands[name] = uint8(bandFirst + i)
	}
	return d.filters(f, bands)
}

// randomPrefix returns one whose bytes have few values, so that many are alike.
func randomPrefix(random *rand.Rand, f family) netip.Prefix {
	addr := randomAddress(random, f)
	bits := addr.BitLen()
	if random.IntN(2) == 0 {
		bits = 1 + random.IntN(bits)
	}
	return netip.PrefixFrom(addr, bits).Masked()
}

func randomAddress(random *rand.Rand, f family) netip.Addr {
	bytes := make([]byte, 4)
	if f == ipv6 {
		bytes = make([]byte, 16)
	}
	for i := range bytes {
		bytes[i] = byte(random.IntN(4))
	}
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}

// Hashed filters decide about packets as their list does, and so does each part of
// them that was added.
func TestHashedFiltersDecideAsTheirList(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12))
	for round := range 30 {
		f := family(round % int(families))
		list := randomList(random, f)
		k := newFake(t)
		tree := k.trees[egress]
		for band := range uint8(20) {
			tree.netems[band] = netemQdisc{}
		}
		tables := 0
		ops := addBlock(device, f, round%maxBlocks, list)
		for i, o := range ops {
			if err := k.do(o); err != nil {
				t.Fatal(err)
			}
			if _, is := o.(addTable); is {
				tables++
			}
			if i%97 != 0 && i != len(ops)-1 {
				continue
			}
			k.readBlocks(tree)
			found := tree.filters(f)
			if len(found) > len(list) || !sameFilters(found, list[:len(found)]) {
				t.Fatalf("round %d, after %d requests: %d filters are not the first of %d", round, i+1, len(found), len(list))
			}
			for range 200 {
				packet := packet{Packet: fault.Packet{Peer: randomAddress(random, f), Protocol: []string{"tcp", "udp", "icmp"}[random.IntN(3)], Remote: 1, Local: 2}}.bytes(fault.Egress)
				var want uint8
				if i := slices.IndexFunc(found, func(one filter) bool { return one.keys.match(packet) }); i >= 0 {
					want = found[i].band
				}
				if got := k.classify(egress, f, packet); got != want {
					t.Fatalf("round %d, after %d requests: band %d, want %d", round, i+1, got, want)
				}
			}
		}
		if len(tree.filters(f)) != len(list) || tables > tablesPerBlock || tables == 0 && len(list) > 100 {
			t.Errorf("round %d: %d of %d filters, in %d tables", round, len(tree.filters(f)), len(list), tables)
		}
	}
}

// The largest bucket says how many filters a packet is compared with.
func TestHashesSpread(t *testing.T) {
	for name, c := range map[string]struct {
		peer    func(i int) string
		largest int
	}{
		"the last byte":          {func(i int) string { return fmt.Sprintf("10.0.%d.%d/32", i/250, i%250) }, 2},
		"the third byte":         {func(i int) string { return fmt.Sprintf("10.%d.%d.0/24", i/250, i%250) }, 2},
		"the second byte":        {func(i int) string { return fmt.Sprintf("%d.%d.7.7/32", 10+i/250, i%250) }, 2},
		"networks beside a byte": {func(i int) string { return fmt.Sprintf("10.%d.%d.0/22", i/50, i%50*4) }, 50},
		"IPv6, the last byte":    {func(i int) string { return fmt.Sprintf("fd00::%x:%x/128", i/250, i%250) }, 2},
		"IPv6, the seventh byte": {func(i int) string { return fmt.Sprintf("fd00:0:%x:%x::/64", i/250, i%250<<8) }, 2},
		"two":                    {func(i int) string { return fmt.Sprintf("10.0.0.%d/32", i%2) }, 250},
	} {
		var list []filter
		var f family
		for i := range 500 {
			prefix := netip.MustParsePrefix(c.peer(i)).Masked()
			f = familyOf(prefix.Addr().Is6())
			list = append(list, filter{addressKeys(headerOf(f).destination, prefix), bandFirst})
		}
		largest := 0
		for _, p := range parts(f, list) {
			sizes := make(map[uint8]int)
			for _, one := range p.filters {
				var bucket uint8
				if p.byteAt != 0 {
					bucket, _ = one.keys.bucket(p.byteAt)
				}
				sizes[bucket]++
				largest = max(largest, sizes[bucket])
			}
		}
		if largest > c.largest {
			t.Errorf("%s: %d filters in a bucket, want at most %d", name, largest, c.largest)
		}
	}
}

func TestTablesSurviveTheKernelsFormat(t *testing.T) {
	head := func(handle uint32) []byte {
		return append(tcMsg(3, handleRoot, handle, filterInfo(priority(1, ipv6), ipv6)).Serialize(), kindAttr(kindU32).Serialize()...)
	}
	number := tableNumber(1, ipv6, 3)
	table, err := parseFilter(append(head(tableHandle(number, 0)), encodeTable().Serialize()...))
	if err != nil || !table.isTable || table.table != number || !isTableOf(table.table, 1, ipv6) || isTableOf(table.table, 1, ipv4) {
		t.Errorf("a table became %+v, %v", table, err)
	}
	for at := headerOf(ipv6).source; at < headerOf(ipv6).transport; at++ {
		o := addLink{node: 9, table: number, byteAt: at}
		link, err := parseFilter(append(head(firstRootTable<<20|o.node), encodeLink(o).Serialize()...))
		if err != nil || link.isTable || link.simple || !link.simpleLink || link.link != number || link.byteAt != at || !link.isLinkOfBlock() || link.isOfBlock() {
			t.Errorf("a link by byte %d became %+v, %v", at, link, err)
		}
	}
	one := filter{addressKeys(24, netip.MustParsePrefix("fd00::7/128")), 5}
	bucket := tableHandle(number, 7)
	got, err := parseFilter(append(head(bucket|77), encodeFilter(one, bucket).Serialize()...))
	if err != nil || got.table != number || got.bucket != 7 || got.node != 77 || !got.isOfBlock() || !got.keys.equal(one.keys) {
		t.Errorf("a filter in a table became %+v, %v", got, err)
	}
}

// What somebody else puts in a table, or makes of one, is not ours.
func TestFiltersOfOthersInATable(t *testing.T) {
	list := randomList(rand.New(rand.NewPCG(1, 2)), ipv4)
	for name, meddle := range map[string]func(u *u32) bool{
		"another bucket":   func(u *u32) bool { u.bucket++; return u.table < firstRootTable && !u.isTable },
		"before its table": func(u *u32) bool { u.node = firstNode; return u.table < firstRootTable && !u.isTable },
		"another hash":     func(u *u32) bool { u.byteAt = 12; return u.simpleLink },
		"an action":        func(u *u32) bool { u.simpleLink = false; return u.link != 0 },
	} {
		k := newFake(t)
		for band := range uint8(20) {
			k.trees[egress].netems[band] = netemQdisc{}
		}
		for _, o := range addBlock(device, ipv4, 0, list) {
			if err := k.do(o); err != nil {
				t.Fatal(err)
			}
		}
		filters := k.filters[egress]
		i := slices.IndexFunc(filters, func(u u32) bool { return meddle(&u) })
		meddle(&filters[i])
		var tree foundTree
		if tree.addFilters(filters); tree.foreignInside == "" {
			t.Errorf("%s: nothing foreign", name)
		}
	}
}
