package madeup

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Measuring is how an agent measures. The zero value measures what the agents of both ends
// do to packets, as a network without other delays would show it.
type Measuring struct {
	// Late is added to what it measures, and may be less than nothing; not at api.Port.
	Late time.Duration
	// Silent has nobody answer but at api.Port, and Deaf has those answer who should not.
	Silent, Deaf bool
	// Busy has it measure for somebody else, and Old has it not know how.
	Busy, Old bool
}

// network is the round trip without faults.
const network = 300 * time.Microsecond

// measure answers a request to measure. The agent's mutex must be held.
func (a *Agent) measure(body []byte) answer {
	var m api.Measure
	switch err := json.Unmarshal(body, &m); {
	case a.way.Measure.Old:
		return refuse(Problem(http.StatusNotFound, "no such route"))
	case a.way.Measure.Busy:
		return refuse(Problem(http.StatusTooManyRequests, "a measurement is under way; try again when it is done"))
	case err != nil:
		return refuse(Problem(http.StatusBadRequest, "want a measurement"))
	}
	all := api.Measurements{Results: []api.Measurement{}}
	for _, target := range m.Targets {
		one := api.Measurement{Target: target, Protocol: fault.ProtocolTCP, Sent: m.Count, Samples: []float64{}}
		peer, err := netip.ParseAddrPort(target)
		if err != nil {
			return refuse(Problem(http.StatusBadRequest, "want IP:PORT"))
		}
		if rtt, isAnswered := a.roundTrip(peer); isAnswered {
			for range m.Count {
				one.Samples = append(one.Samples, rtt.Seconds()*1000)
			}
			one.Received = m.Count
		}
		all.Results = append(all.Results, one)
	}
	return answer{status: http.StatusOK, body: all}
}

// roundTrip returns what a TCP handshake with a peer takes; false if there is no answer. The
// agent's mutex must be held: that of the peer's agent is not, so that two can measure to
// each other, and its faults are read as they were before.
func (a *Agent) roundTrip(peer netip.AddrPort) (time.Duration, bool) {
	if peer.Port() == api.Port {
		return network, true
	}
	if a.way.Measure.Silent {
		return 0, false
	}
	const local = 40000
	out := fault.Packet{Peer: peer.Addr(), Protocol: fault.ProtocolTCP, Local: local, Remote: peer.Port()}
	in := fault.Packet{Peer: a.addr, Protocol: fault.ProtocolTCP, Local: peer.Port(), Remote: local}
	rtt, isCut := network+a.way.Measure.Late, false
	met := func(faults []fault.Fault, p fault.Packet) {
		for _, direction := range []fault.Direction{fault.Egress, fault.Ingress} {
			if f := fault.FaultFor(faults, direction, "eth0", p); f != nil {
				rtt, isCut = rtt+f.Impairment.Delay, isCut || f.Impairment.Partition
			}
		}
	}
	met(a.alive(time.Now()), out)
	met(a.fleet.held(peer.Addr()), in)
	return rtt, !isCut || a.way.Measure.Deaf
}

// held returns the faults of the agent at an address, as they were when they changed last.
func (f *Fleet) held(addr netip.Addr) []fault.Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.holds[addr])
}

// hold notes the faults of the agent at an address.
func (f *Fleet) hold(addr netip.Addr, faults []fault.Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holds[addr] = slices.Clone(faults)
}
