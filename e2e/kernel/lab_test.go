//go:build kernel

package kernel

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A lab is a node with a bridge and two pods on it. The node pings, probes and
// curls; the agent runs in pod; bystander must never notice.
type lab struct {
	node, pod, bystander host
}

// A host is a network namespace with an address on the bridge.
type host struct {
	netns   string
	ip, ip6 string
	// more and more6 are further addresses, for faults with many peers.
	more, more6 []string
}

// address is the host's first of an IP family.
func (h host) address(v6 bool) string {
	if v6 {
		return h.ip6
	}
	return h.ip
}

// makeLab is costly under User Mode Linux, so all tests share one lab and each
// leaves it as it was (startAgent sees to that).
func makeLab() (l *lab, remove func(), err error) {
	// The namespaces are named after the process, so that two runs don't meet.
	name := func(role string) string { return fmt.Sprintf("tidelay-%d-%s", unix.Getpid(), role) }
	l = &lab{
		node:      host{netns: name("node"), ip: "10.99.0.1", ip6: "fd99::1"},
		pod:       host{netns: name("pod"), ip: "10.99.0.2", ip6: "fd99::2"},
		bystander: host{netns: name("bystander"), ip: "10.99.0.3", ip6: "fd99::3"},
	}
	for i := range 12 {
		l.bystander.more = append(l.bystander.more, fmt.Sprintf("10.99.0.%d", 16+i))
		l.bystander.more6 = append(l.bystander.more6, fmt.Sprintf("fd99::%x", 16+i))
	}
	commands := []string{}
	for _, h := range []host{l.node, l.pod, l.bystander} {
		commands = append(commands, "ip netns add "+h.netns, "ip -n "+h.netns+" link set lo up")
	}
	commands = append(commands, "ip -n "+l.node.netns+" link add br0 type bridge forward_delay 0")
	commands = append(commands, l.node.configure("br0")...)
	for i, h := range []host{l.pod, l.bystander} {
		port := fmt.Sprintf("port%d", i)
		commands = append(commands,
			fmt.Sprintf("ip -n %s link add %s type veth peer name eth0 netns %s", l.node.netns, port, h.netns),
			fmt.Sprintf("ip -n %s link set %s master br0 up", l.node.netns, port))
		commands = append(commands, h.configure("eth0")...)
		commands = append(commands, fmt.Sprintf("ip -n %s route add default via %s", h.netns, l.node.ip))
	}
	remove = func() {
		for _, h := range []host{l.node, l.pod, l.bystander} {
			_, _ = output("ip netns del " + h.netns)
		}
	}
	for _, command := range commands {
		if _, err := output(command); err != nil {
			return nil, remove, err
		}
	}
	// As container runtimes do: a process without NET_RAW may send echo requests.
	err = l.pod.inside(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 2147483647"), 0o644)
	})
	if err != nil {
		return nil, remove, fmt.Errorf("let the pod ping: %w", err)
	}
	for _, to := range []string{l.pod.ip, l.pod.ip6, l.bystander.ip, l.bystander.ip6} {
		err := poll(5*time.Second, func() error {
			_, err := output("ip netns exec " + l.node.netns + " ping -n -c 1 -W 1 " + to)
			return err
		})
		if err != nil {
			return nil, remove, fmt.Errorf("the lab's network does not work: %w", err)
		}
	}
	return l, remove, nil
}

func (h host) configure(device string) []string {
	var commands []string
	for _, ip := range append([]string{h.ip}, h.more...) {
		commands = append(commands, fmt.Sprintf("ip -n %s addr add %s/24 dev %s", h.netns, ip, device))
	}
	for _, ip6 := range append([]string{h.ip6}, h.more6...) {
		commands = append(commands, fmt.Sprintf("ip -n %s addr add %s/64 dev %s nodad", h.netns, ip6, device))
	}
	return append(commands, fmt.Sprintf("ip -n %s link set %s up", h.netns, device))
}

// exec runs a command in the namespace and returns what it printed.
func (h host) exec(t testing.TB, command string) string {
	t.Helper()
	return sh(t, "ip netns exec "+h.netns+" "+command)
}

// sh runs a command whose words hold no spaces.
func sh(t testing.TB, command string) string {
	t.Helper()
	out, err := output(command)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func output(command string) (string, error) {
	words := strings.Fields(command)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", command, err, out)
	}
	return string(out), nil
}

// inside runs do on a thread in the namespace; sockets it opens stay there.
func (h host) inside(do func() error) error {
	failed := make(chan error)
	go func() {
		// The thread is not given back: it ends with the goroutine.
		runtime.LockOSThread()
		failed <- func() error {
			fd, err := unix.Open("/run/netns/"+h.netns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("open namespace %s: %w", h.netns, err)
			}
			defer unix.Close(fd)
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter namespace %s: %w", h.netns, err)
			}
			return do()
		}()
	}()
	return <-failed
}

// dial connects from the namespace. The address must be a literal, so that the
// dialer has no reason to leave this thread.
func (h host) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := h.inside(func() (err error) {
		conn, err = (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// listen accepts TCP on a port of the namespace until the test ends, and hands
// each connection to serve.
func (h host) listen(t testing.TB, port int, serve func(net.Conn)) {
	t.Helper()
	var listener net.Listener
	err := h.inside(func() (err error) {
		listener, err = net.Listen("tcp", fmt.Sprintf(":%d", port))
		return err
	})
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
}

// eventually polls until check has no error.
func eventually(t testing.TB, within time.Duration, what string, check func() error) {
	t.Helper()
	if err := poll(within, check); err != nil {
		t.Fatalf("%s: not within %s: %v", what, within, err)
	}
}

func poll(within time.Duration, check func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}
