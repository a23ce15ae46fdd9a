package httpapi

import (
	"net/netip"
	"testing"
	"time"
)

func TestAFullPoolReplacesWhoWaitsMost(t *testing.T) {
	few, many := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	p := newPool(4)
	evicted := map[string]bool{}
	join := func(name string, from netip.Addr) *member {
		return p.join(from, 0, func() { evicted[name] = true })
	}
	join("one of few", few)
	join("working", many).work()
	oldest, newer := join("oldest of many", many), join("newer of many", many)
	if join("newcomer", few) != nil {
		t.Fatal("a newcomer replaced a client that is not slow")
	}
	for _, m := range []*member{oldest, newer} {
		m.waiting.Store(time.Now().Add(-slowAfter).UnixNano())
	}
	if join("newcomer", few) == nil || !evicted["oldest of many"] || len(evicted) != 1 {
		t.Fatalf("evicted %v", evicted)
	}
	if len(p.members) != 4 {
		t.Errorf("%d members", len(p.members))
	}
}

func TestAFullPoolOfWorkersIsWaitedFor(t *testing.T) {
	p := newPool(1)
	first := p.join(netip.Addr{}, 0, func() { t.Error("evicted while working") })
	first.work()
	if p.join(netip.Addr{}, time.Millisecond, nil) != nil {
		t.Fatal("joined a full pool")
	}
	joined := make(chan *member)
	go func() { joined <- p.join(netip.Addr{}, time.Minute, func() {}) }()
	p.leave(first)
	if <-joined == nil {
		t.Error("not joined after another left")
	}
	p.leave(first) // again: the second keeps its place
	if len(p.members) != 1 {
		t.Errorf("%d members", len(p.members))
	}
}

func TestClientsAreForgotten(t *testing.T) {
	c := newClients()
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
	for i := range maxClients + 10 {
		c.limits(at(i))
	}
	if len(c.all) != maxClients || c.all[at(maxClients+9)] == nil {
		t.Errorf("%d remembered, the last among them: %t", len(c.all), c.all[at(maxClients+9)] != nil)
	}
}

func TestAddressesOfOneHost(t *testing.T) {
	for remote, want := range map[string]string{
		"10.0.0.1:5": "10.0.0.1", "[::ffff:10.0.0.1]:5": "10.0.0.1", "[fd00::1:2:3:4]:5": "fd00::", "[fe80::1%eth0]:5": "fe80::",
	} {
		if got := address(remote).String(); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
	if address("@").IsValid() {
		t.Error("no address is one")
	}
}
