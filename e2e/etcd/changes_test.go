//go:build kernel

package etcd

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
)

// rounds is how often the delay is changed.
const rounds = 20

// Twenty changes of a delay under load: no write fails, and no connection is reset or
// ends, of those between members and of the client's. On a machine so slow that etcd
// closes connections between members without any change, because they were idle, this is
// asked of the client's only.
func TestChangesUnderLoadBreakNoConnection(t *testing.T) {
	needsSpeed(t)
	c, w := begin(t)
	leader, followers := c.leader(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	load := w.load(ctx, leader, followers[0])
	start := settled(t, c, w)
	for range rounds {
		w.wantMore(t, 5)
	}
	before := observe(t, c)
	closesIdle := len(lost(start, before, connections.all)) > 0
	for i := range rounds {
		f := slow(time.Duration(1+i*7%20)*time.Millisecond, followers...)
		if i%2 == 1 {
			f.Jitter = "1ms"
		}
		leader.agent.set(t, f)
		w.wantMore(t, 5)
	}
	leader.agent.set(t)
	w.wantMore(t, 5)
	after := observe(t, c)
	cancel()
	load.Wait()

	if err := w.failure(); err != nil {
		t.Error(err)
	}
	checked := connections.all
	if closesIdle {
		t.Logf("etcd closes connections without a change: %v", lost(start, before, connections.all))
		checked = connections.ofClients
	}
	for i, ends := range lost(before, after, checked) {
		t.Errorf("%s has lost the connections %q", c.members[i].host.Name, ends)
	}
	for i, b := range before {
		if a := after[i]; a.resets != b.resets && !closesIdle {
			t.Errorf("%s has counted resets: %s, before %s", c.members[i].host.Name, a.resets, b.resets)
		}
	}
}

// lost returns which of the checked connections are gone, by the numbers of the members
// that have lost some.
func lost(before, after []connections, checked func(connections) []string) map[int][]string {
	all := map[int][]string{}
	for i, b := range before {
		for _, connection := range checked(b) {
			if !slices.Contains(after[i].established, connection) {
				all[i] = append(all[i], connection)
			}
		}
	}
	return all
}

// connections is what a member's kernel says of TCP.
type connections struct {
	// established are those of etcd, by their ends.
	established []string
	// resets are the counters EstabResets and OutRsts.
	resets string
}

// all returns all connections.
func (c connections) all() []string { return c.established }

// ofClients returns the connections that clients have opened.
func (c connections) ofClients() []string {
	return slices.DeleteFunc(slices.Clone(c.established), func(ends string) bool {
		local, _, _ := strings.Cut(ends, " ")
		return !strings.HasSuffix(local, clientPortHex)
	})
}

// observe asks all members' kernels.
func observe(t *testing.T, c *cluster) []connections {
	t.Helper()
	var all []connections
	for _, m := range c.members {
		var table, counters []byte
		if err := m.host.Do(func() (err error) {
			if table, err = os.ReadFile("/proc/thread-self/net/tcp"); err == nil {
				counters, err = os.ReadFile("/proc/thread-self/net/snmp")
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		all = append(all, connections{established(string(table)), resets(string(counters))})
	}
	return all
}

// The ports of etcd as /proc/net/tcp writes them.
const (
	clientPortHex = ":094B"
	peerPortHex   = ":094C"
)

// established are the connections of etcd in /proc/net/tcp, whose columns are a
// number, the local and the remote end, and the state.
func established(table string) []string {
	const state = "01" // TCP_ESTABLISHED
	var found []string
	for line := range strings.Lines(table) {
		words := strings.Fields(line)
		local, remote := words[1], words[2]
		if words[3] == state && (strings.HasSuffix(local, clientPortHex) || strings.HasSuffix(local, peerPortHex) || strings.HasSuffix(remote, peerPortHex)) {
			found = append(found, local+" "+remote)
		}
	}
	slices.Sort(found)
	return found
}

// resets are two counters in /proc/net/snmp, which has a line of names and one of
// values.
func resets(counters string) string {
	var names []string
	for line := range strings.Lines(counters) {
		words := strings.Fields(line)
		if words[0] != "Tcp:" {
			continue
		}
		if names == nil {
			names = words
			continue
		}
		established, sent := slices.Index(names, "EstabResets"), slices.Index(names, "OutRsts")
		return fmt.Sprintf("EstabResets %s, OutRsts %s", words[established], words[sent])
	}
	return ""
}

// settled waits until all connections are those that carry the load or are kept
// alive: etcd closes others after they were idle for 5 seconds (ConnReadTimeout in
// server/etcdserver/api/rafthttp/peer.go).
func settled(t *testing.T, c *cluster, w *writes) []connections {
	t.Helper()
	const idle = 6 * time.Second
	var last []connections
	var since time.Time
	netlab.Eventually(t, agreeing, "no connection comes or goes", func() error {
		w.wantMore(t, 5)
		now := observe(t, c)
		if !slices.EqualFunc(now, last, func(a, b connections) bool { return slices.Equal(a.established, b.established) }) {
			last, since = now, time.Now()
		}
		if stable := time.Since(since); stable < idle {
			return fmt.Errorf("they are the same for %s", stable)
		}
		return nil
	})
	return last
}
