package httpapi

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// pool bounds how many things clients have at once: connections, or requests
// under way. When it is full, a newcomer replaces one that only waits for its
// client, so that whoever holds many and does nothing keeps nobody else out.
type pool struct {
	size    int
	mu      sync.Mutex
	members map[*member]struct{}
	// left is closed, and replaced, when a member leaves.
	left chan struct{}
}

// member is one of them.
type member struct {
	from  netip.Addr
	since time.Time
	// working says that the agent, and not the client, is what it waits for.
	working atomic.Bool
	// evict makes the client's wait end. It must not block.
	evict func()
}

func newPool(size int) *pool {
	return &pool{size: size, members: make(map[*member]struct{}), left: make(chan struct{})}
}

// join adds a member, which waits for its client. In a full pool it replaces
// another one. Where all others work it waits for up to patience, and returns
// nil if none leaves.
func (p *pool) join(from netip.Addr, patience time.Duration, evict func()) *member {
	m := &member{from: from, since: time.Now(), evict: evict}
	var timeout <-chan time.Time
	for {
		left, joined := p.tryJoin(m)
		if joined {
			return m
		}
		if timeout == nil {
			timer := time.NewTimer(patience)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-left:
		case <-timeout:
			return nil
		}
	}
}

// tryJoin adds a member if there is room or room can be made. Else it returns
// what is closed when the next member leaves.
func (p *pool) tryJoin(m *member) (left <-chan struct{}, joined bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.members) >= p.size {
		victim := p.victim()
		if victim == nil {
			return p.left, false
		}
		delete(p.members, victim)
		victim.evict()
	}
	p.members[m] = struct{}{}
	return nil, true
}

// victim returns the member that a newcomer replaces, nil if all work: of the
// address that has most members, counting those that wait for their client, the
// one that has been there longest.
func (p *pool) victim() *member {
	waiting := make(map[netip.Addr]int)
	for m := range p.members {
		if !m.working.Load() {
			waiting[m.from]++
		}
	}
	var victim *member
	for m := range p.members {
		switch {
		case m.working.Load() || waiting[m.from] == 0:
		case victim == nil, waiting[m.from] > waiting[victim.from],
			waiting[m.from] == waiting[victim.from] && m.since.Before(victim.since):
			victim = m
		}
	}
	return victim
}

// leave removes a member. It may have been replaced already.
func (p *pool) leave(m *member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, found := p.members[m]; found {
		delete(p.members, m)
		close(p.left)
		p.left = make(chan struct{})
	}
}
