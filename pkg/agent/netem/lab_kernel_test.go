//go:build kernel

package netem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

const memory = 256 << 20

// A lab is a pod with an eth0, whose other end is in a namespace of its own and
// has several addresses, one for each peer. The test's thread is in the pod.
type lab struct {
	t testing.TB
	// pod and node are open network namespaces.
	pod, node int
	device    api.Device
	exempt    fault.Exemption
}

const (
	podAddr, podAddr6   = "10.77.0.2", "fd77::2"
	nodeAddr, nodeAddr6 = "10.77.0.1", "fd77::1"
)

func peerAddr(i int) string { return fmt.Sprintf("10.77.1.%d", i) }

// newLab makes namespaces that go when the test ends.
func newLab(t testing.TB) *lab {
	t.Helper()
	runtime.LockOSThread() // and never unlocked, so that the thread ends with the test
	l := &lab{t: t, exempt: fault.Exemption{
		ControlPort: 2332, NodeAddrs: []netip.Addr{netip.MustParseAddr(nodeAddr), netip.MustParseAddr(nodeAddr6)}, ProbePorts: []uint16{4000},
	}}
	l.node = l.namespace()
	l.pod = l.namespace()
	l.up("lo")
	l.must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: device, MTU: 1500}, PeerName: "port0", PeerNamespace: netlink.NsFd(l.node)}))
	l.up(device, podAddr+"/24", podAddr6+"/64")
	l.must(netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(nodeAddr)}))
	l.inNode(func() {
		peers := make([]string, 16)
		for i := range peers {
			peers[i] = peerAddr(i) + "/32"
		}
		l.up("lo", peers...)
		l.up("port0", nodeAddr+"/24", nodeAddr6+"/64")
	})
	link, err := netlink.LinkByName(device)
	l.must(err)
	l.device = api.Device{Name: device, Index: link.Attrs().Index}
	return l
}

// up gives a link its addresses.
func (l *lab) up(name string, addresses ...string) {
	l.t.Helper()
	link, err := netlink.LinkByName(name)
	l.must(err)
	for _, address := range addresses {
		addr, err := netlink.ParseAddr(address)
		l.must(err)
		addr.Flags = unix.IFA_F_NODAD
		l.must(netlink.AddrAdd(link, addr))
	}
	l.must(netlink.LinkSetUp(link))
}

// namespace makes a network namespace and enters it.
func (l *lab) namespace() int {
	l.must(unix.Unshare(unix.CLONE_NEWNET))
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	l.must(err)
	l.t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// inNode calls f in the node's namespace.
func (l *lab) inNode(f func()) {
	l.t.Helper()
	l.must(unix.Setns(l.node, unix.CLONE_NEWNET))
	f()
	l.must(unix.Setns(l.pod, unix.CLONE_NEWNET))
}

// output runs a shell command where the thread is.
func (l *lab) output(command string) (string, error) {
	out, err := exec.CommandContext(l.t.Context(), "sh", "-ec", command).CombinedOutput()
	return string(out), err
}

func (l *lab) run(command string) string {
	l.t.Helper()
	out, err := l.output(command)
	if err != nil {
		l.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}

// engine returns one as a new process has it.
func (l *lab) engine(lacks map[fault.Feature]string) *Engine {
	return New([]api.Device{l.device}, l.exempt, memory, lacks, slog.New(slog.NewTextHandler(l.t.Output(), nil)))
}

func (l *lab) apply(e *Engine, faults ...fault.Fault) {
	l.t.Helper()
	set, err := fault.NewSet(faults)
	l.must(err)
	l.must(e.Apply(set))
	state, err := e.State(set)
	l.must(err)
	if len(state.Drift) > 0 || len(state.Found) != len(set) {
		l.t.Fatalf("State after Apply: %d of %d faults, drift: %s", len(state.Found), len(set), strings.Join(state.Drift, "\n"))
	}
}

// configuration is all of tc's state of the pod, without what counts or
// depends on the moment.
func (l *lab) configuration() string {
	l.t.Helper()
	return l.run("tc qdisc show; ip -o link show type ifb | sed 's/ state.*//'; " +
		"for d in eth0 $(ip -o link show type ifb | sed 's/^[0-9]*: //;s/:.*//'); do echo $d; tc filter show dev $d; tc filter show dev $d ingress; done 2>&1 | " +
		"grep -v 'index [0-9]* ref'")
}

// stream sends numbered datagrams and takes them out at the other end.
type stream struct {
	l        *lab
	from, to *net.UDPConn
}

// datagram is what arrived, in order of arrival.
type datagram struct {
	number uint64
	late   time.Duration
}

// stream opens one from the pod to an address, or the other way.
func (l *lab) stream(address string, toPod bool) stream {
	l.t.Helper()
	ip, own := net.ParseIP(address), net.ParseIP(podAddr)
	if ip.To4() == nil {
		own = net.ParseIP(podAddr6)
	}
	listen := func(ip net.IP) *net.UDPConn {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
		l.must(err)
		raw, err := c.SyscallConn()
		l.must(err)
		l.must(raw.Control(func(fd uintptr) {
			err = errors.Join(
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20))
		}))
		l.must(err)
		l.t.Cleanup(func() { _ = c.Close() })
		return c
	}
	var s stream
	var node *net.UDPConn
	pod := listen(own)
	l.inNode(func() { node = listen(ip) })
	s = stream{l, pod, node}
	if toPod {
		s.from, s.to = node, pod
	}
	return s
}

func (s stream) send(number uint64) {
	s.l.t.Helper()
	b := binary.BigEndian.AppendUint64(nil, number)
	b = binary.BigEndian.AppendUint64(b, uint64(time.Now().UnixNano()))
	if _, err := s.from.WriteToUDP(b, s.to.LocalAddr().(*net.UDPAddr)); err != nil {
		s.l.t.Fatalf("send: %v", err)
	}
}

// receive takes what arrives until nothing does for a while.
func (s stream) receive(quiet time.Duration) []datagram {
	s.l.t.Helper()
	var all []datagram
	b, oob := make([]byte, 64), make([]byte, 128)
	for {
		s.l.must(s.to.SetReadDeadline(time.Now().Add(quiet)))
		n, oobn, _, _, err := s.to.ReadMsgUDP(b, oob)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return all
		}
		s.l.must(err)
		if n != 16 {
			s.l.t.Fatalf("a datagram of %d bytes", n)
		}
		sent := time.Unix(0, int64(binary.BigEndian.Uint64(b[8:])))
		all = append(all, datagram{binary.BigEndian.Uint64(b), s.l.arrival(oob[:oobn]).Sub(sent)})
	}
}

// arrival is the kernel's time stamp of a datagram. That of the reader would
// have the waiting for the one CPU in it.
func (l *lab) arrival(oob []byte) time.Time {
	l.t.Helper()
	messages, err := unix.ParseSocketControlMessage(oob)
	l.must(err)
	for _, m := range messages {
		if m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
			return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		}
	}
	l.t.Fatal("a datagram without the time of its arrival")
	return time.Time{}
}

// delay is the least delay of a few datagrams; -1 when none arrives.
func (s stream) delay(quiet time.Duration) time.Duration {
	s.l.t.Helper()
	least := time.Duration(-1)
	for i := range 5 {
		s.send(uint64(i))
	}
	for _, d := range s.receive(quiet) {
		if least < 0 || d.late < least {
			least = d.late
		}
	}
	return least
}

// pings is what ping says in the end.
type pings struct {
	sent, received       int
	least, average, most time.Duration
	said                 string
}

// ping sends echo requests from the pod, in a process of its own so that it
// goes on whatever the test does.
func (l *lab) ping(address string, count int, pause time.Duration) (wait func() pings) {
	l.t.Helper()
	command := exec.CommandContext(l.t.Context(), "ping", "-n", "-q", "-i", fmt.Sprint(pause.Seconds()), "-c", fmt.Sprint(count), "-W", "2", address)
	var out strings.Builder
	command.Stdout, command.Stderr = &out, &out
	l.must(command.Start())
	return func() pings {
		l.t.Helper()
		err := command.Wait()
		p := pings{said: out.String()}
		var least, average, most float64
		if i := strings.Index(p.said, "packets transmitted"); i >= 0 {
			_, _ = fmt.Sscanf(p.said[strings.LastIndex(p.said[:i], "\n")+1:], "%d packets transmitted, %d received", &p.sent, &p.received)
		}
		if _, times, ok := strings.Cut(p.said, "rtt min/avg/max/mdev = "); ok {
			_, _ = fmt.Sscanf(times, "%f/%f/%f", &least, &average, &most)
		}
		if p.sent == 0 {
			l.t.Fatalf("ping %s: %v\n%s", address, err, p.said)
		}
		milliseconds := func(f float64) time.Duration { return time.Duration(f * float64(time.Millisecond)) }
		p.least, p.average, p.most = milliseconds(least), milliseconds(average), milliseconds(most)
		return p
	}
}

// isDelay fails the test unless a delay is as asked for, give or take what one
// CPU that does everything takes.
func (l *lab) isDelay(what string, got, want time.Duration) {
	l.t.Helper()
	if got < want || got > want+8*time.Millisecond {
		l.t.Errorf("%s: %s late, want %s", what, got, want)
	}
}
