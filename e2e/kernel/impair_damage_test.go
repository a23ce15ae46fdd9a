//go:build kernel

package kernel

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// wantLacking wants a fault refused for a feature that is not there, in words
// that say so.
func wantLacking(t *testing.T, a *agent, feature, reason string, w api.Fault) {
	t.Helper()
	problem := a.refused(http.StatusUnprocessableEntity, w)
	if !strings.Contains(problem.Detail, feature) || !strings.Contains(problem.Detail, reason) {
		t.Errorf("the detail does not say that %s is lacking, because %s: %s", feature, reason, problem.Detail)
	}
}

// overhead is what a link layer and IP and UDP add to a datagram over IPv4.
const overhead = 14 + 20 + 8

func damageEffects() []effect {
	// What is delayed is told from what goes at once, also where a busy machine keeps
	// the latter waiting.
	delay := 2 * machine.Marking
	reordered := settled(delay + 300*time.Millisecond)
	early := func(got netlab.Traffic) int {
		count := 0
		for _, a := range got.Arrivals {
			if a.Delay < machine.Marking {
				count++
			}
		}
		return count
	}
	return []effect{
		{
			name: "duplicate", needs: "duplicate", fault: api.Fault{Duplicate: &api.Chance{Percent: 10}}, flow: more(4000),
			check: func(got netlab.Traffic) error {
				if lost := len(got.Lost()); lost+got.Corrupt > 0 {
					return fmt.Errorf("%d lost, %d corrupt", lost, got.Corrupt)
				}
				return netlab.WantBinomial("came twice", got.Duplicates(), got.Sent, 0.1)
			},
		},
		// A bit is flipped anywhere. In the sender's MAC address or in the port
		// nobody notices; elsewhere outside the payload the packet is dropped.
		{
			name: "corrupt", needs: "corrupt", fault: api.Fault{Corrupt: &api.Chance{Percent: 10}},
			flow: func(f *flow) { more(4000)(f); f.Unsummed, f.Size = true, 1000 },
			check: func(got netlab.Traffic) error {
				damaged := got.Sent - len(got.Arrivals)
				if got.Corrupt == 0 || got.Duplicates() > 0 {
					return fmt.Errorf("%d with a wrong payload, %d came twice", got.Corrupt, got.Duplicates())
				}
				return netlab.WantBinomial("damaged", damaged, got.Sent, 0.1*(1-8./(1000+overhead)))
			},
		},
		{name: "reorder 25 %", flow: reordered, fault: api.Fault{Delay: delay.String(), Reorder: &api.Reorder{Percent: 25}}, check: func(got netlab.Traffic) error {
			err := got.Intact()
			if got.Reordered() == 0 {
				err = errors.Join(err, errors.New("none overtook another"))
			}
			return errors.Join(err, netlab.WantBinomial("went at once", early(got), got.Sent, 0.25))
		}},
		{name: "reorder every fifth", flow: reordered, fault: api.Fault{Delay: delay.String(), Reorder: &api.Reorder{Percent: 100, Gap: 5}}, check: func(got netlab.Traffic) error {
			err := got.Intact()
			return errors.Join(err, fifthsFirst(got))
		}},
	}
}

// fifthsFirst wants every fifth datagram before all that are delayed, and both
// kinds in order.
func fifthsFirst(got netlab.Traffic) error {
	last := map[bool]int{}
	for i, a := range got.Arrivals {
		fifth := a.Number%5 == 4
		if early := a.Delay < machine.Marking; early != fifth {
			return fmt.Errorf("arrival %d is datagram %d after %s", i, a.Number, a.Delay)
		}
		if a.Number < last[fifth] {
			return fmt.Errorf("arrival %d is datagram %d after %d of its kind", i, a.Number, last[fifth])
		}
		last[fifth] = a.Number
	}
	return nil
}

func rateEffects() []effect {
	// 1000 bytes of payload, about twice as many as the link carries.
	flood := func(f *flow) {
		f.Count, f.Burst, f.Size, f.Settle = 1200, 12, 1000, time.Second
	}
	// carries wants datagrams that take so many bytes of a link of 5mbit each.
	carries := func(bytes int) func(got netlab.Traffic) error {
		return func(got netlab.Traffic) error {
			if len(got.Arrivals) < 100 {
				return fmt.Errorf("%d of %d datagrams came", len(got.Arrivals), got.Sent)
			}
			first, last := got.Arrivals[0], got.Arrivals[len(got.Arrivals)-1]
			bits := 8 * float64(bytes) * float64(len(got.Arrivals)-1)
			return netlab.WantNear("bit/s", bits/(last.At-first.At).Seconds(), 5e6, 0.1)
		}
	}
	const frame = 1000 + overhead
	return []effect{
		{name: "rate", needs: "rate", fault: api.Fault{Rate: &api.Rate{PerSecond: "5mbit"}}, flow: flood, check: carries(frame)},
		{
			name: "rate with overhead per packet", needs: "rate", flow: flood, check: carries(frame + 500),
			fault: api.Fault{Rate: &api.Rate{PerSecond: "5mbit", PacketOverhead: 500}},
		},
		{
			name: "rate in cells", needs: "rate", flow: flood, check: carries((frame + 499) / 500 * (500 + 300)),
			fault: api.Fault{Rate: &api.Rate{PerSecond: "5mbit", CellSize: 500, CellOverhead: 300}},
		},
		{
			name: "rate of what arrives", needs: "rate", fault: api.Fault{Rate: &api.Rate{PerSecond: "5mbit"}}, check: carries(frame),
			flow: func(f *flow) { flood(f); f.From, f.To = f.To, f.From },
		},
	}
}
