//go:build linux && kernel

package nfqueue

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
)

// device is the name of every pod's interface.
const device = netlab.Device

// pod is a pod of the lab.
type pod struct {
	*netlab.Host
	v4, v6 netip.Addr
}

// newPods returns two pods: here, in which an engine is to run, and there.
func newPods(t testing.TB) (here, there pod) {
	t.Helper()
	lab := netlab.New(t, netlab.Spec{Name: "there"}, netlab.Spec{Name: "here"})
	as := func(name string) pod {
		h := lab.Pod(name)
		return pod{h, netip.MustParseAddr(h.IP), netip.MustParseAddr(h.IP6)}
	}
	return as("here"), as("there")
}

func (p pod) ruleset(t testing.TB) string {
	t.Helper()
	return p.Ruleset(t)
}

// udp is datagrams from here to there, all at once, that arrive within a time
// after the last one or are lost.
func udp(here, there pod, count int, settle time.Duration) netlab.Flow {
	return netlab.Flow{From: here.Host, To: there.Host, Port: 9, Count: count, Size: 32, Settle: settle, Brief: true}
}

// machine is what the tests run on, and says how late packets may be there.
var machine = netlab.ThisMachine()

// tolerance is how far a typical round trip may be from the delay: a millisecond
// in each direction, which a busy machine needs. e2e/kernel measures how exact a
// delay is; here it tells the delays of the tests apart.
var tolerance = machine.Lag + 2*time.Millisecond

// wantRoundTrips wants datagrams from here to there, which must Echo, to take
// as long as the delay says. None may ever take less.
func wantRoundTrips(t *testing.T, here, there pod, delay time.Duration) {
	t.Helper()
	const count = 21
	netlab.Retry(t, fmt.Sprintf("round trips under %s", delay), func() error {
		times := here.RoundTrips(t, there.IP, count)
		if least := slices.Min(times); least < delay {
			t.Fatalf("a round trip takes %s under a delay of %s", least, delay)
		}
		if typical := machine.Typical(times); typical > delay+tolerance {
			return fmt.Errorf("%s under a delay of %s", typical, delay)
		}
		return nil
	})
}
