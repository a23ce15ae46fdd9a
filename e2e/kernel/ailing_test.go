//go:build kernel

package kernel

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// A process that may configure the network can send to any netlink socket of the pod
// (netlink_sendmsg in net/netlink/af_netlink.c). What the agent then can't read ends
// the socket and not the agent.
func TestASocketThatBreaks(t *testing.T) {
	a := freshAgent(t)
	a.set("20ms")
	disturb(t, a.lab.pod, unix.NETLINK_ROUTE, follower(t, a.lab.pod))
	for _, text := range []string{taskFails("follow the pod's interfaces"), taskWorks("follow the pod's interfaces")} {
		netlab.Eventually(t, 20*time.Second, text, func() error { return a.says(text) })
	}
	if engineName == "nfqueue" {
		disturb(t, a.lab.pod, unix.NETLINK_NETFILTER, queueReader(t, a.lab.pod))
		for _, text := range []string{"engine nfqueue failed", taskWorks("run an engine")} {
			netlab.Eventually(t, 20*time.Second, text, func() error { return a.says(text) })
		}
	}
	netlab.Eventually(t, 10*time.Second, "the fault is there", a.holdsAll)
	a.set("30ms")
	netlab.Retry(t, "the delay is in force", func() error {
		if p := a.lab.pod.Ping(t, a.lab.bystander.IP, 5, interval); p.Received != p.Sent || p.Least < 30*time.Millisecond {
			return fmt.Errorf("%+v", p)
		}
		return nil
	})
	if warnings := a.status().Warnings; len(warnings) > 0 {
		t.Errorf("the status warns of %q", warnings)
	}
}

// holdsAll returns an error unless the agent has faults and the kernel has all of them.
func (a *agent) holdsAll() error {
	status := a.status()
	if len(status.Faults) == 0 || slices.ContainsFunc(status.Faults, func(f api.FaultStatus) bool { return !f.Held }) {
		return fmt.Errorf("%+v", status.Faults)
	}
	return nil
}

// disturb sends to a netlink socket what is no message of the kernel.
func disturb(t *testing.T, h *netlab.Host, protocol int, port uint32) {
	t.Helper()
	err := h.Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, make([]byte, 8), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: port})
	})
	if err != nil {
		t.Fatalf("send to the netlink socket %d: %v", port, err)
	}
}

// follower returns the port of the socket that gets the kernel's reports about links.
// The columns of /proc/net/netlink are those of netlink_native_seq_show in
// net/netlink/af_netlink.c.
func follower(t *testing.T, h *netlab.Host) (port uint32) {
	t.Helper()
	lines := bufio.NewScanner(strings.NewReader(h.Exec(t, "cat /proc/net/netlink")))
	for lines.Scan() {
		var socket string
		var protocol int
		var number, groups uint32
		if n, err := fmt.Sscanf(lines.Text(), "%s %d %d %x", &socket, &protocol, &number, &groups); n == 4 && err == nil &&
			protocol == unix.NETLINK_ROUTE && number != 0 && groups != 0 {
			return number
		}
	}
	t.Fatal("no socket of the pod gets the kernel's reports")
	return 0
}

// queueReader returns the port of the socket that reads the queue of the first fault.
func queueReader(t *testing.T, h *netlab.Host) (port uint32) {
	t.Helper()
	lines := bufio.NewScanner(strings.NewReader(h.Exec(t, "cat /proc/net/netfilter/nfnetlink_queue")))
	for lines.Scan() {
		var number, reader uint32
		if _, err := fmt.Sscan(lines.Text(), &number, &reader); err == nil && number == firstQueue {
			return reader
		}
	}
	t.Fatal("nobody reads the queue")
	return 0
}

// firstQueue is the queue of the first fault that nfqueue sets for packets that leave.
const firstQueue = 2340

// An engine that can't work when the agent starts is taken up when it can: here
// another process reads one of its queues meanwhile. Then the faults of the agent
// before are restored, but for what was ended meanwhile.
func TestAnEngineThatWorksLater(t *testing.T) {
	if engineName == "netem" {
		t.Skip("netem needs nothing that another process could have")
	}
	a := freshAgent(t, "--engine=nfqueue")
	stays := api.Fault{Name: "stays", Peers: []string{a.lab.bystander.IP}, Delay: "20ms"}
	a.apply(stays, api.Fault{Name: "ends", Peers: []string{a.lab.bystander.More[0]}, Partition: true},
		api.Fault{Name: "ends-by-itself", Peers: []string{a.lab.bystander.More[1]}, Delay: "1ms", Duration: "20s"})
	a.stop(syscall.SIGKILL)
	release := readQueue(t, a.lab.pod)
	a.start()
	status := a.status()
	if status.Engine != api.EngineNone || !strings.Contains(status.Reason, "has a reader") || len(status.Faults) != 3 || status.Faults[0].Held || !warns(status, "no engine runs") {
		t.Errorf("engine %s: %s, faults %+v, warnings %q", status.Engine, status.Reason, status.Faults, status.Warnings)
	}
	var problem api.Problem
	a.send(http.MethodDelete, api.PathFaults+"/ends", "", http.StatusNotImplemented, &problem)
	if !strings.Contains(problem.Detail, "not applied again") {
		t.Errorf("the answer to an end is %q", problem.Detail)
	}
	netlab.Eventually(t, 30*time.Second, "the other ends", func() error {
		if left := a.faults(); len(left) != 1 || left[0].Name != "stays" {
			return fmt.Errorf("%+v", left)
		}
		return nil
	})
	release()
	netlab.Eventually(t, 30*time.Second, "the engine runs", func() error { return a.says(taskWorks("run an engine")) })
	netlab.Eventually(t, 10*time.Second, "the fault is restored", a.holdsAll)
	if p := a.lab.pod.Ping(t, a.lab.bystander.More[0], 3, interval); p.Received != p.Sent {
		t.Errorf("what ended without an engine is there with one: %+v", p)
	}
	a.apply(stays, api.Fault{Name: "new", Peers: []string{a.lab.bystander.More[0]}, Delay: "1ms"})
}

// readQueue reads a queue of nfqueue as another process would, until release or the
// end of the test (NFQNL_MSG_CONFIG in include/uapi/linux/netfilter/nfnetlink_queue.h).
func readQueue(t *testing.T, h *netlab.Host) (release func()) {
	t.Helper()
	fd := -1
	err := h.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER); err != nil {
			return err
		}
		m := binary.NativeEndian.AppendUint32(nil, 28) // struct nlmsghdr
		m = binary.NativeEndian.AppendUint16(m, unix.NFNL_SUBSYS_QUEUE<<8|2)
		m = binary.NativeEndian.AppendUint16(m, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
		m = append(m, make([]byte, 8)...)
		m = binary.BigEndian.AppendUint16(append(m, unix.AF_UNSPEC, 0), firstQueue) // struct nfgenmsg
		m = binary.NativeEndian.AppendUint16(m, 8)                                  // NFQA_CFG_CMD
		m = binary.NativeEndian.AppendUint16(m, 1)
		m = append(m, 1, 0, 0, 0) // NFQNL_CFG_CMD_BIND
		if err := unix.Sendto(fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return err
		}
		answer := make([]byte, 64)
		n, _, err := unix.Recvfrom(fd, answer, 0)
		if err == nil && (n < 20 || binary.NativeEndian.Uint32(answer[16:]) != 0) {
			err = fmt.Errorf("the kernel answers % x", answer[:n])
		}
		return err
	})
	if err != nil {
		t.Fatalf("read a queue: %v", err)
	}
	released := false
	release = func() {
		if !released {
			released = true
			_ = unix.Close(fd)
		}
	}
	t.Cleanup(release)
	return release
}

// A log that nobody reads any more is no reason to end.
func TestALogThatNobodyReads(t *testing.T) {
	netlab.EngineIndependent(t)
	a := freshAgent(t)
	a.stop(syscall.SIGTERM)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	a.cmd = exec.Command(agentBinary, a.args...)
	a.cmd.Stderr, a.cmd.Stdout = writer, writer
	if err := a.lab.pod.Start(a.cmd); err != nil {
		t.Fatal(err)
	}
	_, _ = reader.Close(), writer.Close()
	a.waitForAnswer(20 * time.Second)
	a.set("20ms") // which is logged
	a.set("30ms")
	a.wantHeld(1)
}

// What kubelet and the injector have set wrongly costs an exemption, and is told.
func TestABadEnvironment(t *testing.T) {
	netlab.EngineIndependent(t)
	a := freshAgent(t)
	a.stop(syscall.SIGTERM)
	a.env = []string{"NODE_IP=10.0.0.1,$(HOST_IP)", "PROBE_PORTS=http,4000", "POD_UID=$(POD_UID)"}
	a.start()
	warnings := strings.Join(a.status().Warnings, "\n")
	for _, part := range []string{"$NODE_IP", "$PROBE_PORTS", `"http"`, "$POD_UID", "want"} {
		if !strings.Contains(warnings, part) {
			t.Errorf("the warnings lack %q: %s", part, warnings)
		}
	}
	if exempt := strings.Join(a.status().Exempt, "\n"); !strings.Contains(exempt, "10.0.0.1") || !strings.Contains(exempt, "4000") {
		t.Errorf("what is right of it counts: %s", exempt)
	}
}

// An agent that a webhook has moved to the node's network does nothing there: its pod's
// network is that of the node then.
func TestOnTheNodesNetwork(t *testing.T) {
	netlab.EngineIndependent(t)
	a := freshAgent(t)
	for _, ip := range []string{a.lab.pod.IP, a.lab.pod.IP6} {
		a.stop(syscall.SIGTERM)
		a.env = []string{"NODE_IP=" + ip}
		a.start()
		if status := a.status(); status.Engine != api.EngineNone || !strings.Contains(status.Reason, "node's network") || !strings.Contains(status.Reason, ip) {
			t.Errorf("engine %s: %s", status.Engine, status.Reason)
		}
		a.send(http.MethodGet, "/latency/20ms", "", http.StatusNotImplemented, &api.Problem{})
		if now := kernelState(t, a.lab.pod); now != a.before {
			t.Errorf("the kernel held before the agent:\n%s\nand now:\n%s", a.before, now)
		}
	}
}
