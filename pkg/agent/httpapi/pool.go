package httpapi

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// slowAfter is how long a client may take for what others do at once, before it
// can lose its place: to send the rest of a request, or to read an answer.
const slowAfter = 200 * time.Millisecond

// pool bounds how many things clients have at once: connections, or requests
// under way. When it is full, a newcomer replaces one whose client is slow, so that
// whoever holds many and does nothing keeps nobody else out.
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
	// waiting is since when it waits for its client; nil while the agent works for it.
	waiting atomic.Pointer[time.Time]
	// sent is how long the client took so far to take an answer, in nanoseconds.
	sent atomic.Int64
	// unread says whether the client has yet to take a part of what was sent to it.
	// It is nil where the client itself has to send.
	unread atomic.Pointer[func() bool]
	// evict ends the wait for the client. It must not block.
	evict func()
}

// work notes that the agent works for the member, to answer a request.
func (m *member) work() {
	m.waiting.Store(nil)
	m.sent.Store(0)
	m.unread.Store(nil)
}

// sending sends a part of an answer. It waits for the client as long as that takes,
// added to what the parts before took. Between them the agent works, however late it
// gets a CPU.
func (m *member) sending(send func()) {
	start := time.Now()
	since := start.Add(-time.Duration(m.sent.Load()))
	working := m.waiting.CompareAndSwap(nil, &since)
	send()
	if working {
		m.sent.Add(int64(time.Since(start)))
		m.waiting.CompareAndSwap(&since, nil)
	}
}

// wait notes that the member waits for its client from now on, unless it does
// already.
func (m *member) wait() {
	now := time.Now()
	m.waiting.CompareAndSwap(nil, &now)
}

// waitFirst notes that it waits for its client, which counts as slow already, since
// it has sent nothing yet.
func (m *member) waitFirst() { m.waiting.Store(&time.Time{}) }

// isSlow says whether its client is slow. A client that took all that was sent so
// far is not: on a busy machine it is the agent that takes long.
func (m *member) isSlow() bool {
	since := m.waiting.Load()
	if since == nil || time.Since(*since) < slowAfter {
		return false
	}
	unread := m.unread.Load()
	return unread == nil || (*unread)()
}

func newPool(size int) *pool {
	return &pool{size: size, members: make(map[*member]struct{}), left: make(chan struct{})}
}

// join adds a member, which waits for its client. In a full pool it replaces
// another one. Where no other client is slow it waits for up to patience, and
// returns nil if none leaves or becomes slow.
func (p *pool) join(from netip.Addr, patience time.Duration, evict func()) *member {
	m := &member{from: from, since: time.Now(), evict: evict}
	m.wait()
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
		case <-time.After(slowAfter):
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

// victim returns the member that a newcomer replaces, nil if no client is slow: of
// the address that has most slow members, the one that has been there longest.
func (p *pool) victim() *member {
	var slow []*member
	count := make(map[netip.Addr]int)
	for m := range p.members {
		if m.isSlow() {
			slow = append(slow, m)
			count[m.from]++
		}
	}
	if len(slow) == 0 {
		return nil
	}
	return slices.MaxFunc(slow, func(a, b *member) int {
		return cmp.Or(cmp.Compare(count[a.from], count[b.from]), b.since.Compare(a.since))
	})
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
