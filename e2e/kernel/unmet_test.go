//go:build kernel

package kernel

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// A fault that no packet can meet is in the kernel, and the answer and the status
// say that it is in vain, until it is not.
func TestFaultsThatMeetNothingAreWarnedOf(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	control := &api.Ports{Local: []api.PortRange{{First: api.Port, Last: api.Port}}}
	own := fmt.Sprintf("peers %s or %s: an address of the pod itself", l.pod.IP, l.pod.IP6)
	for want, f := range map[string]api.Fault{
		own: {Peers: []string{l.pod.IP, l.pod.IP6}},
		"peers 127.0.0.0/8 or ::1: loopback is never touched": {Direction: "both", Peers: []string{"127.0.0.0/8", "::1"}},
		"ports.local 2332: it is the agent's own TCP port":    {Direction: "ingress", Protocol: "tcp", Ports: control},
	} {
		f.Name, f.Delay = "vain", "20ms"
		want = `fault "vain" meets no packet: ` + want
		if got := a.apply(f).Warnings; len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("the answer warns of %q, want %s", got, want)
		}
		if got := a.status().Warnings; len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("the status warns of %q, want %s", got, want)
		}
	}
	l.pod.Ping(t, l.pod.IP, 1, prompt)
	if got := a.status().Faults[0]; !got.Held || got.Counters.Packets != 0 {
		t.Errorf("a fault that nothing meets: %+v", got)
	}
	met := api.Fault{Name: "met", Peers: []string{l.bystander.IP, l.bystander.IP6}, Delay: "20ms"}
	if got := a.apply(met).Warnings; len(got) > 0 {
		t.Errorf("a fault of other pods: the answer warns of %q", got)
	}
}

// The pod may have no address of a family, and get one later.
func TestPeersOfAFamilyThatThePodLacks(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	address := l.pod.IP6 + "/64"
	restore := func() { l.pod.Exec(t, "ip addr replace "+address+" dev eth0 nodad") }
	t.Cleanup(restore)
	f := api.Fault{Name: "far", Peers: []string{l.bystander.IP6, l.bystander.IP}, Delay: "20ms"}
	if got := a.apply(f).Warnings; len(got) > 0 {
		t.Fatalf("with addresses of both families the answer warns of %q", got)
	}
	l.pod.Exec(t, "ip addr del "+address+" dev eth0")
	want := fmt.Sprintf(`fault "far": no packet matches peers %s: the pod has no IPv6 address but link-local ones`, l.bystander.IP6)
	if got := a.status().Warnings; len(got) != 1 || !strings.HasPrefix(got[0], want) {
		t.Errorf("without IPv6 the status warns of %q, want %s", got, want)
	}
	restore()
	if got := a.status().Warnings; len(got) > 0 {
		t.Errorf("with IPv6 again the status warns of %q", got)
	}
}
