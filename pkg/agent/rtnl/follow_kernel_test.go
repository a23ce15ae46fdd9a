//go:build kernel

package rtnl_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/rtnl"
)

// read reads the network in a host, as "eth0, net1 (missing)".
func read(t testing.TB, h *netlab.Host, f *rtnl.Follower) string {
	t.Helper()
	var text string
	if err := h.Do(func() error {
		n, err := f.Read()
		var words []string
		for _, d := range n.Devices {
			word := d.Name
			if d.Missing != (d.Index == 0) {
				t.Errorf("%+v", d)
			}
			if d.Missing {
				word += " (missing)"
			}
			words = append(words, word)
		}
		text = strings.Join(words, ", ")
		if err != nil {
			text = err.Error()
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return text
}

// Names stay selected when their interfaces go. Each step is a script and what is
// selected after it.
func TestSelection(t *testing.T) {
	const add, up = "ip link add %s type veth peer name %[1]sb; ip link set %[1]s up;", "ip addr add 10.0.0.2/24 dev eth0; ip route add default via 10.0.0.1;"
	eth0, net1 := fmt.Sprintf(add, "eth0"), fmt.Sprintf(add, "net1")
	const loopback = `interface "lo" is loopback, whose packets are never touched; want one of: `
	for selection, steps := range map[string][][2]string{
		"": {
			{"", "no default route, and 0 interfaces are up: name one of: (there is none but loopback)"},
			{net1, "net1"}, // the only one that is up
			{eth0 + up, "eth0"},
			{"ip link del eth0", "eth0 (missing)"},
			{eth0, "eth0"},
			{"ip addr add 10.1.0.2/24 dev net1; ip route add default via 10.1.0.1", "eth0"},
			{"ip route del default; ip addr add 10.0.0.2/24 dev eth0; ip route add default nexthop via 10.1.0.1 nexthop via 10.0.0.1", "net1, eth0"},
		},
		"all": {
			{"", "no interface but loopback is up"},
			{net1, "net1"},
			{eth0, "net1, eth0"},
			{"ip link del net1; ip link add tidelay9 type veth peer name tidelay9b; ip link set tidelay9 up", "eth0"},
		},
		"eth0,net1, eth0": {
			{"", "eth0 (missing), net1 (missing)"},
			{net1, "eth0 (missing), net1"},
			// Before Linux 6.2 an interface that is up can't be renamed.
			{eth0 + "ip link set net1 down; ip link set net1 name x; ip link set x up", "eth0, net1 (missing)"},
		},
		"lo":                       {{"", loopback + "(there is none but loopback)"}},
		"eth0,lo":                  {{eth0, loopback + "eth0b, eth0"}},
		"a,,b":                     {{"", `"" is no name of an interface; want one of: (there is none but loopback)`}},
		"aninterfacewithalongname": {{"", `"aninterfacewithalongname" is no name of an interface; want one of: (there is none but loopback)`}},
	} {
		t.Run(selection, func(t *testing.T) {
			h, f := netlab.Apart(t, "pod"), rtnl.NewFollower(selection)
			for _, step := range steps {
				h.Shell(t, step[0])
				got := read(t, h, f)
				if want := step[1]; got != want {
					t.Errorf("after %q: %s; want %s", step[0], got, want)
				}
			}
		})
	}
}

// follow runs a follower in a host until the test ends. Each call of changed waits
// for the test, which receives what it is about.
func follow(t testing.TB, h *netlab.Host) (changes <-chan bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	calls := make(chan bool)
	var group sync.WaitGroup
	group.Go(func() {
		if err := h.Do(func() error {
			return rtnl.NewFollower("eth0").Run(ctx, func(links bool) error {
				select {
				case calls <- links:
				case <-ctx.Done():
				}
				return nil
			})
		}); err != nil {
			t.Errorf("follow: %v", err)
		}
	})
	t.Cleanup(group.Wait)
	t.Cleanup(cancel)
	return calls
}

// wantChange wants a call soon, about links or not. Before one about links there
// may be others: an address of IPv6 gets its routes when it was found to be free,
// a second or two after its link is up.
func wantChange(t testing.TB, changes <-chan bool, what string, links bool) {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		select {
		case got := <-changes:
			if got && !links {
				t.Errorf("%s: about links, want routes only", what)
			}
			if got || !links {
				return
			}
		case <-late:
			t.Fatalf("%s: no such call within 10 seconds", what)
		}
	}
}

func wantNoChange(t testing.TB, changes <-chan bool, what string) {
	t.Helper()
	select {
	case <-changes:
		t.Errorf("%s: a call", what)
	case <-time.After(200 * time.Millisecond):
	}
}

func TestFollow(t *testing.T) {
	h := netlab.Apart(t, "pod")
	h.Shell(t, "ip link add net1 type veth peer name net2; ip link set net1 up; ip link set net2 up; ip addr add 10.0.0.2/24 dev net1")
	changes := follow(t, h)
	wantChange(t, changes, "the start", true)
	h.Shell(t, "ip link add eth0 type veth peer name eth1")
	wantChange(t, changes, "a new link", true)
	drain(changes)
	h.Shell(t, "ip route add default via 10.0.0.1")
	wantChange(t, changes, "a route", false)
	h.Shell(t, "ip link set lo up; ip link add tidelay7 type veth peer name tidelay8; ip link del tidelay7")
	drainRoutes(t, changes)
	h.Shell(t, "ip link set eth0 name eth9")
	wantChange(t, changes, "a rename", true)
	drain(changes)
	wantNoChange(t, changes, "nothing")
}

// drain takes calls until there is none for a while.
func drain(changes <-chan bool) {
	for {
		select {
		case <-changes:
		case <-time.After(200 * time.Millisecond):
			return
		}
	}
}

// drainRoutes is drain for calls that must not be about links.
func drainRoutes(t testing.TB, changes <-chan bool) {
	t.Helper()
	for {
		select {
		case links := <-changes:
			if links {
				t.Error("the agent's own link or loopback counts as a change")
			}
		case <-time.After(200 * time.Millisecond):
			return
		}
	}
}

// Reports that the kernel drops because nobody reads them (ENOBUFS) are not
// missed.
func TestFollowManyChanges(t *testing.T) {
	h := netlab.Apart(t, "pod")
	h.Shell(t, "ip link add eth0 type veth peer name eth1")
	changes := follow(t, h)
	wantChange(t, changes, "the start", true)
	h.Exec(t, "ip link set eth0 up") // its call waits for the test, and nobody reads
	// Far more reports than the socket has room for.
	if err := h.Do(func() error {
		link, err := netlink.LinkByName("eth0")
		for i := 0; i < 5_000 && err == nil; i++ {
			err = netlink.LinkSetMTU(link, 1_000+i%400)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if sockets := h.Exec(t, "cat /proc/net/netlink"); !reportsDropped(sockets) {
		t.Fatalf("no reports were dropped; the test proves nothing:\n%s", sockets)
	}
	wantChange(t, changes, "before the overflow", true)
	wantChange(t, changes, "the overflow", true)
	h.Exec(t, "ip link del eth0")
	wantChange(t, changes, "after the overflow", true)
}

// reportsDropped looks for a socket of rtnetlink (protocol 0, the second column)
// that had no room for a report (the ninth).
func reportsDropped(sockets string) bool {
	for line := range strings.Lines(sockets) {
		if columns := strings.Fields(line); len(columns) >= 9 && columns[1] == "0" && columns[8] != "0" {
			return true
		}
	}
	return false
}
