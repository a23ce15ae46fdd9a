//go:build linux

package netlab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// NodeName is the name of the host that has the bridge.
	NodeName = "node"
	// Bridge is the node's interface, Device that of every pod.
	Bridge, Device = "br0", "eth0"
)

// The hosts of a lab are numbered: the node is 1, and pods follow. Numbers from
// firstMore are for further addresses.
const firstMore, lastMore = 16, 254

// Spec is a host to make.
type Spec struct {
	Name string
	// More is the number of further addresses of each family, for tests with many
	// peers.
	More int
}

// A Host is a network namespace with addresses.
type Host struct {
	Name string
	// IP and IP6 are its first addresses.
	IP, IP6 string
	// More and More6 are its further addresses.
	More, More6 []string

	namespace int // an open descriptor
}

// Address is the host's first address of an IP family.
func (h *Host) Address(v6 bool) string {
	if v6 {
		return h.IP6
	}
	return h.IP
}

// A Lab is a node and its pods.
type Lab struct {
	Node *Host
	// Pods are in the order in which they were asked for.
	Pods []*Host

	more int // next further address
}

// New makes a lab that ends with the test.
func New(t testing.TB, specs ...Spec) *Lab {
	t.Helper()
	l, err := Make(specs...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Remove)
	return l
}

// Make makes a lab of a node and pods, in which everybody reaches everybody. A
// spec named NodeName is for the node; others are pods.
func Make(specs ...Spec) (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("network namespaces need root")
	}
	l := &Lab{more: firstMore}
	node := Spec{Name: NodeName}
	if i := slices.IndexFunc(specs, func(s Spec) bool { return s.Name == NodeName }); i >= 0 {
		node, specs = specs[i], slices.Delete(slices.Clone(specs), i, i+1)
	}
	if err := l.build(node, specs); err != nil {
		l.Remove()
		return nil, err
	}
	return l, nil
}

func (l *Lab) build(node Spec, pods []Spec) error {
	if 1+len(pods) >= firstMore {
		return fmt.Errorf("%d pods: want at most %d", len(pods), firstMore-2)
	}
	var err error
	if l.Node, err = l.host(1, node); err != nil {
		return err
	}
	err = l.Node.Do(func() error {
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: Bridge}})
	})
	if err != nil {
		return fmt.Errorf("make the bridge: %w", err)
	}
	if err := l.Node.up(Bridge); err != nil {
		return err
	}
	for i, spec := range pods {
		pod, err := l.host(2+i, spec)
		if err != nil {
			return err
		}
		l.Pods = append(l.Pods, pod)
		if err := l.plug(pod, fmt.Sprintf("port%d", i)); err != nil {
			return err
		}
	}
	for _, pod := range l.Pods {
		if err := l.Node.waitFor(pod); err != nil {
			return fmt.Errorf("the lab's network does not work: %w", err)
		}
	}
	return nil
}

// host makes a namespace and deals out its addresses.
func (l *Lab) host(number int, spec Spec) (*Host, error) {
	v4, v6 := func(n int) string { return fmt.Sprintf("10.99.0.%d", n) }, func(n int) string { return fmt.Sprintf("fd99::%x", n) }
	h := &Host{Name: spec.Name, IP: v4(number), IP6: v6(number)}
	for range spec.More {
		if l.more > lastMore {
			return nil, fmt.Errorf("host %s: no address is left", spec.Name)
		}
		h.More, h.More6 = append(h.More, v4(l.more)), append(h.More6, v6(l.more))
		l.more++
	}
	var err error
	if h.namespace, err = newNamespace(); err != nil {
		return nil, fmt.Errorf("host %s: %w", spec.Name, err)
	}
	return h, h.Do(func() error { return setUp("lo") })
}

// plug connects a pod to a port of the bridge.
func (l *Lab) plug(pod *Host, port string) error {
	err := l.Node.Do(func() error {
		if err := netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: port, MTU: 1500}, PeerName: Device, PeerNamespace: netlink.NsFd(pod.namespace),
		}); err != nil {
			return err
		}
		bridge, err := netlink.LinkByName(Bridge)
		if err != nil {
			return err
		}
		link, err := netlink.LinkByName(port)
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetMaster(link, bridge), netlink.LinkSetUp(link))
	})
	if err != nil {
		return fmt.Errorf("connect %s to the bridge: %w", pod.Name, err)
	}
	if err := pod.up(Device); err != nil {
		return err
	}
	return pod.Do(func() error {
		if err := netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(l.Node.IP)}); err != nil {
			return fmt.Errorf("give %s a default route: %w", pod.Name, err)
		}
		// As container runtimes do: a process without NET_RAW may send echo requests.
		return os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 2147483647"), 0o644)
	})
}

// up gives an interface the host's addresses.
func (h *Host) up(device string) error {
	var prefixes []string
	for _, ip := range append([]string{h.IP}, h.More...) {
		prefixes = append(prefixes, ip+"/24")
	}
	for _, ip6 := range append([]string{h.IP6}, h.More6...) {
		prefixes = append(prefixes, ip6+"/64")
	}
	return h.Do(func() error { return setUp(device, prefixes...) })
}

// setUp gives an interface of the thread's namespace addresses with the lengths
// of their nets, and switches it on.
func setUp(device string, prefixes ...string) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("find %s: %w", device, err)
	}
	for _, prefix := range prefixes {
		addr, err := netlink.ParseAddr(prefix)
		if err != nil {
			return fmt.Errorf("parse %s: %w", prefix, err)
		}
		addr.Flags = unix.IFA_F_NODAD // or an IPv6 address is of no use for a second
		if err := netlink.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("add %s to %s: %w", prefix, device, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", device, err)
	}
	return nil
}

// waitFor waits until a pod answers, by refusing connections. The kernel takes up
// to a second to use an interface that came up.
func (h *Host) waitFor(pod *Host) error {
	for _, ip := range []string{pod.IP, pod.IP6} {
		err := Poll(5*time.Second, func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			conn, err := h.Dial(ctx, "tcp", net.JoinHostPort(ip, "1"))
			if err == nil {
				_ = conn.Close()
				return nil
			}
			if errors.Is(err, unix.ECONNREFUSED) {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Pod returns the pod of a name, which the lab must have.
func (l *Lab) Pod(name string) *Host {
	i := slices.IndexFunc(l.Pods, func(h *Host) bool { return h.Name == name })
	if i < 0 {
		panic("netlab: no pod " + strconv.Quote(name))
	}
	return l.Pods[i]
}

// Remove ends the lab. Its namespaces go when the last process in them ends.
func (l *Lab) Remove() {
	for _, h := range append(slices.Clone(l.Pods), l.Node) {
		if h != nil {
			h.remove()
		}
	}
}

func (h *Host) remove() { _ = unix.Close(h.namespace) }
