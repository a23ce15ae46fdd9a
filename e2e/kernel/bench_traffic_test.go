//go:build kernel

package kernel

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// BenchmarkTCP sends one TCP stream out of the pod under a delay, with the
// queue that the agent computes and, in turn, with one of 1000 packets, which
// is netem's default. A large segment counts as one packet (GSO), so that 1000
// are far more than one stream sends; without segmentation offload they are
// not.
func BenchmarkTCP(b *testing.B) {
	for _, c := range []struct {
		delay   string
		segment bool
	}{{"20ms", false}, {"100ms", false}, {"20ms", true}, {"100ms", true}} {
		name, delay := c.delay, c.delay
		if c.segment {
			name += " without GSO"
		}
		var computed float64
		b.Run(name+"/computed-queue", func(b *testing.B) {
			if c.segment {
				withoutGSO(b)
			}
			a := freshAgent(b)
			for b.Loop() {
				computed = streamUnder(b, a, delay)
				b.ReportMetric(computed/1e6, "Mbit/s")
			}
		})
		b.Run(name+"/1000-packets", func(b *testing.B) {
			if c.segment {
				withoutGSO(b)
			}
			a := freshAgent(b, "--queue-memory=2000Ki") // 2 KiB a packet
			for b.Loop() {
				thousand := streamUnder(b, a, delay)
				b.ReportMetric(thousand/1e6, "Mbit/s")
				b.ReportMetric(computed/thousand, "computed/1000-ratio")
			}
		})
	}
}

// withoutGSO makes every packet of the pod one of at most the MTU.
func withoutGSO(b *testing.B) {
	b.Helper()
	const all = 65535 // GSO_MAX_SEGS
	set := func(segments int) { theLab.pod.Exec(b, fmt.Sprintf("ip link set dev eth0 gso_max_segs %d", segments)) }
	set(1)
	b.Cleanup(func() { set(all) })
}

// streamUnder returns bits per second after the window has opened.
func streamUnder(b *testing.B, a *agent, delay string) float64 {
	b.Helper()
	const warmUp, measured = 2 * time.Second, 3 * time.Second
	defer a.clear()
	var received atomic.Int64
	sink := a.lab.node.Listen(b, net.JoinHostPort(a.lab.node.IP, "0"), func(conn net.Conn) { _, _ = io.Copy(counter{&received}, conn) })
	a.set(delay) // first: TCP takes an RTT that jumps for congestion
	conn, err := a.lab.pod.Dial(b.Context(), "tcp", sink.String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	go func() {
		block := make([]byte, 1<<20)
		for {
			if _, err := conn.Write(block); err != nil {
				return
			}
		}
	}()
	<-time.After(warmUp)
	from, start := received.Load(), time.Now()
	<-time.After(measured)
	return float64(received.Load()-from) * 8 / time.Since(start).Seconds()
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) { c.n.Add(int64(len(p))); return len(p), nil }

// BenchmarkPackets sends small datagrams as fast as it can, without a fault and
// under a delay, and reports what arrives and what the agent's process works
// for it.
func BenchmarkPackets(b *testing.B) {
	for _, delay := range []string{"0", "5ms"} {
		b.Run(delay, func(b *testing.B) {
			a := freshAgent(b)
			for b.Loop() {
				if delay != "0" {
					a.set(delay)
				}
				busy := cpuTime(b, a)
				f := flood(b, a.lab.pod, a.lab.node, 3*time.Second)
				busy = cpuTime(b, a) - busy
				b.ReportMetric(f.perSecond(), "packets/s")
				b.ReportMetric(float64(f.sent-f.received), "lost")
				if delay != "0" && busy > 0 {
					b.ReportMetric(float64(f.received)/busy.Seconds(), "packets/s-per-agent-core")
				}
			}
		})
	}
}

// flooded is what a flood did.
type flooded struct {
	sent, received int64
	took           time.Duration
}

func (f flooded) perSecond() float64 { return float64(f.received) / f.took.Seconds() }

// flood sends from two sockets with a large send buffer for a time and counts
// what arrives until nothing has for a while.
func flood(b *testing.B, from, to *netlab.Host, length time.Duration) flooded {
	b.Helper()
	var receiver *net.UDPConn
	err := to.Do(func() (err error) {
		receiver, err = net.ListenUDP("udp4", &net.UDPAddr{Port: 7009})
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = receiver.Close() }()
	forceBuffer(b, receiver, unix.SO_RCVBUFFORCE)
	var f flooded
	start := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 64)
		for {
			if err := receiver.SetReadDeadline(time.Now().Add(length)); err != nil {
				return
			}
			if _, err := receiver.Read(buffer); err != nil {
				return
			}
			f.received++
			f.took = time.Since(start)
		}
	}()
	var sent atomic.Int64
	var group sync.WaitGroup
	for range 2 {
		conn, err := from.Dial(b.Context(), "udp4", net.JoinHostPort(to.IP, "7009"))
		if err != nil {
			b.Fatal(err)
		}
		forceBuffer(b, conn.(*net.UDPConn), unix.SO_SNDBUFFORCE)
		group.Go(func() {
			defer conn.Close()
			datagram := make([]byte, 64)
			for time.Since(start) < length {
				for range 64 {
					if _, err := conn.Write(datagram); err == nil {
						sent.Add(1)
					}
				}
			}
		})
	}
	group.Wait()
	<-done
	f.sent = sent.Load()
	return f
}

func forceBuffer(b *testing.B, conn *net.UDPConn, option int) {
	b.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		b.Fatal(err)
	}
	const size = 64 << 20
	if err := raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, size) }); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkFootprint reports what the agent takes: its file, its memory idle,
// with twelve faults, and with 50,000 packets waiting, and its CPU when idle.
func BenchmarkFootprint(b *testing.B) {
	a := freshAgent(b)
	for b.Loop() {
		file, err := os.Stat(agentBinary)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(file.Size())/1e6, "binary-MB")
		b.ReportMetric(resident(b, a), "idle-RSS-MB")
		busy := cpuTime(b, a)
		<-time.After(5 * time.Second)
		b.ReportMetric(milliseconds(cpuTime(b, a)-busy), "idle-CPU-ms-in-5s")

		var faults []api.Fault
		for i := range 12 {
			faults = append(faults, api.Fault{Name: fmt.Sprintf("f%d", i), Peers: []string{fmt.Sprintf("10.99.1.%d", i+1)}, Delay: "1ms"})
		}
		faults[0] = api.Fault{Name: "f0", Peers: []string{a.lab.node.IP}, Protocol: "udp", Delay: "20s"}
		a.apply(faults...)
		b.ReportMetric(resident(b, a), "12-faults-RSS-MB")
		waiting := fill(b, a, 50_000)
		b.ReportMetric(float64(waiting), "packets-waiting")
		b.ReportMetric(resident(b, a), "waiting-RSS-MB")
		a.apply()
	}
}

// fill sends datagrams from many sockets, since each has room for a few only,
// until so many wait.
func fill(b *testing.B, a *agent, count int) int {
	b.Helper()
	var conns []net.Conn
	defer func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}()
	const each = 200
	for range count / each {
		conn, err := a.lab.pod.Dial(b.Context(), "udp4", net.JoinHostPort(a.lab.node.IP, "7010"))
		if err != nil {
			b.Fatal(err)
		}
		conns = append(conns, conn)
		for range each {
			if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
				b.Fatal(err)
			}
			if _, err := conn.Write(make([]byte, 16)); err != nil {
				break
			}
		}
	}
	return int(a.status().Faults[0].Counters.Backlog)
}

// procFile reads a file of the agent's process.
func procFile(b *testing.B, a *agent, name string) []byte {
	b.Helper()
	content, err := os.ReadFile("/proc/" + strconv.Itoa(a.cmd.Process.Pid) + "/" + name)
	if err != nil {
		b.Fatal(err)
	}
	return content
}

// resident is VmRSS in megabytes.
func resident(b *testing.B, a *agent) float64 {
	b.Helper()
	for line := range bytes.Lines(procFile(b, a, "status")) {
		var kilobytes float64
		if n, _ := fmt.Sscanf(string(line), "VmRSS: %f kB", &kilobytes); n == 1 {
			return kilobytes * 1024 / 1e6
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

// cpuTime is what the process has used, user and system (proc(5), stat).
func cpuTime(b *testing.B, a *agent) time.Duration {
	b.Helper()
	stat := string(procFile(b, a, "stat"))
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	const user, system, ticksPerSecond = 11, 12, 100
	var ticks int64
	for _, i := range []int{user, system} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond
}
