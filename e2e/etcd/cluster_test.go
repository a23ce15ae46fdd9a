//go:build kernel

package etcd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Limits of what takes its time on a busy machine.
const (
	// electing is how long it may take until another leader takes writes. Members
	// miss a leader for one to two election time-outs, of 3 s.
	electing = 30 * time.Second
	// agreeing is how long it may take until all members hold the same. After a cut
	// that is about half as long as the cut was: TCP tries again ever later.
	agreeing = 2 * time.Minute
)

// A cluster is three members and the host that their client is on.
type cluster struct {
	folder  string
	lab     *netlab.Lab
	members []*member
}

// shared is the cluster of all tests. It is nil before the first of them.
var shared *cluster

// begin returns the cluster for a test. When the test ends, all faults are ended,
// and then all members must agree and hold every acknowledged write.
func begin(t *testing.T) (*cluster, *writes) {
	t.Helper()
	if shared == nil {
		shared = startCluster(t)
	}
	c, w := shared, &writes{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.logs())
		}
	})
	t.Cleanup(func() {
		for _, m := range c.members {
			m.agent.clear(t)
		}
		start := time.Now()
		netlab.Eventually(t, agreeing, "all members agree", func() error { return c.agree(w) })
		t.Logf("all members agree after %s, on %d acknowledged writes", time.Since(start).Round(time.Millisecond), len(w.keys()))
	})
	return c, w
}

// startCluster starts members and agents, and waits for their agreement.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	specs := []netlab.Spec{{Name: "db-0"}, {Name: "db-1"}, {Name: "db-2"}}
	lab, err := netlab.Make(append(specs, netlab.Spec{Name: "client"})...)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "tidelay-etcd-") //nolint:usetesting // it outlives the test
	if err != nil {
		t.Fatal(err)
	}
	c, start := &cluster{folder: folder, lab: lab}, time.Now()
	var peers []string
	for _, s := range specs {
		m := newMember(lab.Pod(s.Name), lab.Pod("client"), filepath.Join(folder, s.Name))
		c.members = append(c.members, m)
		peers = append(peers, m.host.Name+"="+m.peerURL())
	}
	for _, m := range c.members {
		err = errors.Join(err, m.agent.start())
	}
	for _, m := range c.members {
		err = errors.Join(err, m.start(strings.Join(peers, ",")))
	}
	if err == nil {
		err = netlab.Poll(agreeing, func() error { return c.agree(&writes{}) })
	}
	if err != nil {
		defer c.end()
		t.Fatalf("start the cluster: %v\n%s", err, c.logs())
	}
	t.Logf("the cluster starts within %s", time.Since(start).Round(time.Millisecond))
	return c
}

func endShared() {
	if shared != nil {
		shared.end()
		shared = nil
	}
}

func (c *cluster) end() {
	for _, m := range c.members {
		m.agent.kill()
		m.kill()
	}
	c.lab.Remove()
	_ = os.RemoveAll(c.folder)
}

// logs are the ends of what all programs printed.
func (c *cluster) logs() string {
	var text strings.Builder
	for _, m := range c.members {
		fmt.Fprintf(&text, "== etcd %s:\n%s== its agent:\n%s", m.host.Name, m.log.end(), m.agent.log.end())
	}
	return text.String()
}

// leader waits for a leader that all members follow. The others come second.
func (c *cluster) leader(t *testing.T) (leader *member, followers []*member) {
	t.Helper()
	netlab.Eventually(t, agreeing, "all members follow one leader", func() (err error) {
		leader, followers, err = c.split(c.members)
		return err
	})
	return leader, followers
}

// split finds the one leader that some members follow, and all others.
func (c *cluster) split(asked []*member) (leader *member, others []*member, err error) {
	followed := make(map[string]bool)
	for _, m := range asked {
		s, err := m.status()
		if err != nil {
			return nil, nil, err
		}
		followed[s.Leader] = true
	}
	for _, m := range c.members {
		if followed[m.id] {
			leader = m
		} else {
			others = append(others, m)
		}
	}
	if leader == nil || len(followed) != 1 {
		return nil, nil, fmt.Errorf("the leaders are %v", followed)
	}
	return leader, others, nil
}

// agree has an error unless all members follow one leader, hold the same
// revision with the same hash, and have every acknowledged write.
func (c *cluster) agree(w *writes) error {
	if _, _, err := c.split(c.members); err != nil {
		return err
	}
	var first hash
	for i, m := range c.members {
		h, err := m.hash()
		if err != nil {
			return err
		}
		if i == 0 {
			first = h
		}
		if h != first {
			return fmt.Errorf("%s holds %+v, %s %+v", m.host.Name, h, c.members[0].host.Name, first)
		}
		has, err := m.keys()
		if err != nil {
			return err
		}
		for _, key := range w.keys() {
			if !has[key] {
				return fmt.Errorf("%s lacks %q, which was acknowledged", m.host.Name, key)
			}
		}
	}
	return nil
}

// peersOf are the addresses of members in faults.
func peersOf(members []*member) []string {
	var ips []string
	for _, m := range members {
		ips = append(ips, m.host.IP)
	}
	return ips
}

// cut is a partition from others, slow a delay in both directions.
func cut(direction string, others ...*member) api.Fault {
	return api.Fault{Name: "cut", Direction: direction, Partition: true, Peers: peersOf(others)}
}

func slow(delay time.Duration, others ...*member) api.Fault {
	return api.Fault{Name: "slow", Direction: "both", Delay: delay.String(), Peers: peersOf(others)}
}
