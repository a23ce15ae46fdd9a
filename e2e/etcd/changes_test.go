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

// Twenty changes of a delay under load: no write fails, and no connection ends,
// of those between members and of the client's.
func TestChangesUnderLoadBreakNoConnection(t *testing.T) {
	needsSpeed(t)
	c, w := begin(t)
	leader, followers := c.leader(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	load := w.load(ctx, leader, followers[0])
	before := settled(t, c, w)
	for i := range 20 {
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
	for i, b := range before {
		a, name := after[i], c.members[i].host.Name
		for _, connection := range b.connections {
			if !slices.Contains(a.connections, connection) {
				t.Errorf("%s has lost the connection %s", name, connection)
			}
		}
		if a.resets != b.resets {
			t.Errorf("%s has counted resets: %s, before %s", name, a.resets, b.resets)
		}
	}
}

// connections is what a member's kernel says of TCP.
type connections struct {
	// connections are the established ones of etcd, by their ends.
	connections []string
	// resets are the counters EstabResets and OutRsts.
	resets string
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

// established are the connections of etcd in /proc/net/tcp, whose columns are a
// number, the local and the remote end, and the state.
func established(table string) []string {
	const state, client, peer = "01", ":094B", ":094C" // TCP_ESTABLISHED; clientPort and peerPort
	var found []string
	for line := range strings.Lines(table) {
		words := strings.Fields(line)
		local, remote := words[1], words[2]
		if words[3] == state && (strings.HasSuffix(local, client) || strings.HasSuffix(local, peer) || strings.HasSuffix(remote, peer)) {
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
		if !slices.EqualFunc(now, last, func(a, b connections) bool { return slices.Equal(a.connections, b.connections) }) {
			last, since = now, time.Now()
		}
		if stable := time.Since(since); stable < idle {
			return fmt.Errorf("they are the same for %s", stable)
		}
		return nil
	})
	return last
}
