//go:build kernel

package kernel

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// As many peers as a fault can have, of both families: all of them meet it and
// nobody else does.
func TestAFaultOfTheMostPeers(t *testing.T) {
	const delay = 40 * time.Millisecond
	a := startAgent(t)
	l := a.lab
	peers := append(manyPeers(255), l.node.IP, l.node.IP6)
	for i := range 255 {
		peers = append(peers, fmt.Sprintf("fd00::%x", i+1))
	}
	a.apply(api.Fault{Name: "most", Direction: "both", Peers: peers, Delay: delay.String()})
	defer a.apply()
	netlab.Retry(t, "512 peers", func() error {
		return errors.Join(
			meets(t, l.node, l.pod.IP, 2*delay), meets(t, l.node, l.pod.IP6, 2*delay),
			meets(t, l.bystander, l.pod.IP, 0), meets(t, l.bystander, l.pod.IP6, 0))
	})
	for _, i := range []int{0, 255} { // one less of each family
		fewer := append(append([]string{}, peers[:i]...), peers[i+1:]...)
		a.apply(api.Fault{Name: "most", Direction: "both", Peers: fewer, Delay: delay.String()})
	}
}

// The largest set that is accepted: 4000 combinations, of one family.
func TestTheLargestSet(t *testing.T) {
	const faults, each, delay = 8, 500, 40 * time.Millisecond
	a := startAgent(t)
	l := a.lab
	peers := manyPeers(faults * each)
	peers[len(peers)-1] = l.bystander.IP
	var set []api.Fault
	for i := range faults {
		set = append(set, api.Fault{Name: fmt.Sprintf("f%d", i), Peers: peers[i*each : (i+1)*each], Delay: delay.String()})
	}
	start := time.Now()
	a.apply(set...)
	t.Logf("set in %s", time.Since(start))
	netlab.Retry(t, "4000 combinations", func() error {
		return errors.Join(meets(t, l.pod, l.bystander.IP, delay), meets(t, l.pod, l.bystander.IP6, 0), meets(t, l.pod, l.node.IP, 0))
	})
	start = time.Now()
	a.apply()
	t.Logf("cleared in %s", time.Since(start))
}

// meets wants the RTT to an address to be a delay, 0 for none.
func meets(t *testing.T, from *netlab.Host, to string, delay time.Duration) error {
	t.Helper()
	if took := rtt(t, from, to); took < delay || took > delay+machine.Lag+20*time.Millisecond {
		return fmt.Errorf("RTT to %s is %s, want %s", to, took, delay)
	}
	return nil
}
