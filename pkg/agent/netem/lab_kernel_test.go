//go:build kernel

package netem

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

const memory = 256 << 20

func TestMain(m *testing.M) { os.Exit(netlab.Main(m)) }

// machine is what the tests run on, and says how late packets may be there.
var machine = netlab.ThisMachine()

// A lab is a pod whose node has several addresses, one for each peer. The test's
// thread is in the pod.
type lab struct {
	t         testing.TB
	pod, node *netlab.Host
	device    api.Device
	exempt    fault.Exemption
}

// newLab makes a lab that goes when the test ends.
func newLab(t testing.TB) *lab {
	t.Helper()
	made := netlab.New(t, netlab.Spec{Name: netlab.NodeName, More: 16}, netlab.Spec{Name: "pod"})
	l := &lab{t: t, pod: made.Pod("pod"), node: made.Node}
	l.exempt = fault.Exemption{
		ControlPort: api.Port, ProbePorts: []uint16{4000},
		NodeAddrs: []netip.Addr{netip.MustParseAddr(l.node.IP), netip.MustParseAddr(l.node.IP6)},
	}
	l.pod.Enter(t)
	link, err := netlink.LinkByName(device)
	l.must(err)
	l.device = api.Device{Name: device, Index: link.Attrs().Index}
	return l
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// peer is one of the node's addresses.
func (l *lab) peer(i int) string { return l.node.More[i] }

// shell runs a shell script in the pod.
func (l *lab) shell(script string) string {
	l.t.Helper()
	return l.pod.Shell(l.t, script)
}

// engine returns one as a new process has it.
func (l *lab) engine(lacks map[fault.Feature]string) *Engine {
	return New(fault.Scope{Devices: []string{device}, Exempt: l.exempt}, memory, lacks, slog.New(slog.NewTextHandler(l.t.Output(), nil)))
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
	links := volatile.ReplaceAllString(l.pod.Exec(l.t, "ip -o link show type ifb"), "")
	devices := []string{device}
	for line := range strings.Lines(links) {
		devices = append(devices, strings.Trim(strings.Fields(line)[1], ":"))
	}
	script := []string{"qdisc show"}
	for _, d := range devices {
		script = append(script, "filter show dev "+d, "filter show dev "+d+" ingress")
	}
	tc := exec.Command("tc", "-force", "-batch", "-") // one process, which costs much under User Mode Linux
	tc.Stdin = strings.NewReader(strings.Join(script, "\n"))
	shown, _ := l.pod.Run(tc) // it fails for an interface without an ingress qdisc
	return links + volatile.ReplaceAllString(shown, "")
}

// volatile is what a configuration is compared without: the state of a link, and
// the lines of an action that count.
var volatile = regexp.MustCompile(` state.*|(?m)^.*index [0-9]+ ref.*$`)

// netem is the line of the one netem that tc shows.
func (l *lab) netem() string {
	l.t.Helper()
	shown := l.pod.Exec(l.t, "tc qdisc show dev "+device)
	for line := range strings.Lines(shown) {
		if strings.Contains(line, "netem") {
			return line
		}
	}
	l.t.Fatalf("tc shows no netem:\n%s", shown)
	return ""
}

// flow is datagrams from the pod to an address of the node, all at once.
func (l *lab) flow(to string, count int, settle time.Duration) netlab.Flow {
	return netlab.Flow{From: l.pod, To: l.node, Target: to, Count: count, Settle: settle, Stamped: true}
}

// flowToPod is flow the other way.
func (l *lab) flowToPod(from string, count int, settle time.Duration) netlab.Flow {
	return netlab.Flow{From: l.node, To: l.pod, Source: from, Count: count, Settle: settle, Stamped: true}
}

// none is the delay of what does not arrive.
const none = time.Duration(-1)

// delay is the least delay of a flow; none when nothing arrives.
func (l *lab) delay(f netlab.Flow) time.Duration {
	l.t.Helper()
	f.Brief = true
	delays := f.Run(l.t).Delays()
	if len(delays) == 0 {
		return none
	}
	return slices.Min(delays)
}

// wantDelay wants the delay of a few datagrams to be as asked for, give or take
// what one CPU that does everything takes.
func (l *lab) wantDelay(what string, f netlab.Flow, want time.Duration) {
	l.t.Helper()
	f.Count, f.Settle = 5, want+time.Second
	netlab.Retry(l.t, what, func() error {
		switch got := l.delay(f); {
		case got < want, want == none && got != none:
			l.t.Errorf("%s: %s late, want %s", what, got, want)
		case got > want+machine.Lag+8*time.Millisecond:
			return fmt.Errorf("%s late, want %s", got, want)
		}
		return nil
	})
}
