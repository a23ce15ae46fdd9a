package httpapi

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
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
		m.waiting.Store(new(time.Now().Add(-slowAfter)))
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

// A client is slow for the time that it takes to read an answer, and not for the
// time that the agent takes to write it.
func TestOnlyAClientThatDoesNotReadIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer here.Close()
		defer there.Close()
		requests := newPool(1)
		place := requests.join(netip.Addr{}, 0, func() {})
		c := &connection{Conn: here, pool: newPool(1), member: &member{}}
		c.works(place)
		write := func() (done chan error) {
			done = make(chan error, 1)
			go func() { _, err := c.Write([]byte("x")); done <- err }()
			synctest.Wait()
			return done
		}
		wantSlow := func(when string, want bool) {
			t.Helper()
			if place.isSlow() != want || c.member.isSlow() != want {
				t.Errorf("%s: the request is slow: %t, the connection: %t, want %t", when, place.isSlow(), c.member.isSlow(), want)
			}
		}
		read := func(done chan error) {
			t.Helper()
			if _, err := there.Read(make([]byte, 1)); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		done := write()
		wantSlow("a part was just sent", false)
		time.Sleep(slowAfter / 2)
		wantSlow("it is not read for a while", false)
		read(done)
		time.Sleep(slowAfter)
		wantSlow("it was read, and the agent takes long", false)
		done = write()
		time.Sleep(slowAfter / 2)
		wantSlow("the next part is not read for as long", true)
		read(done)
		wantSlow("it was read", false)
		done = write()
		wantSlow("which is sent", true)
		read(done)
		c.works(place)
		done = write()
		wantSlow("the first part of the next answer", false)
		read(done)
		c.done()
		time.Sleep(slowAfter)
		if !c.member.isSlow() {
			t.Error("an idle connection is not slow")
		}
	})
}
