//go:build kernel

package kernel

import (
	"slices"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// The first fault of an interface and the end of the last one: nfqueue loses
// nothing of what no fault is for. With netem the kernel exchanges the
// interface's queue, which drops what is sent meanwhile (dev_deactivate,
// net/sched/sch_generic.c), and so does `tc qdisc add`; then it is only what
// was sent while the request was under way.
func TestFirstAndLast(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	stop := make(chan struct{})
	f := flow{From: l.pod, To: l.bystander, Port: 7000, Count: 100_000, Burst: 1, Pace: machine.SteadyPace, Size: 64, Settle: 2 * machine.Marking, Until: stop}
	began := time.Now()
	end := f.Start()
	type span struct{ from, to time.Duration }
	var requests []span
	request := func(faults ...api.Fault) {
		from := time.Since(began)
		a.apply(faults...)
		requests = append(requests, span{from, time.Since(began)})
	}
	const rounds = 10
	for range rounds {
		request(api.Fault{Name: "elsewhere", Peers: []string{"192.0.2.1"}, Direction: "both", Delay: "20ms"})
		<-time.After(50 * time.Millisecond) // without a request
		request()
		<-time.After(50 * time.Millisecond)
	}
	close(stop)
	got, err := end()
	if err != nil {
		t.Fatal(err)
	}
	lost := got.Lost()
	t.Logf("%d of %d datagrams lost in %d changes", len(lost), got.Sent, len(requests))
	if engineName == "nfqueue" && len(lost) > 0 {
		t.Errorf("datagrams %v were lost", lost)
	}
	if got.Sent < rounds*20 || got.Duplicates()+got.Reordered()+got.Corrupt > 0 {
		t.Errorf("of %d datagrams %d came twice, %d late, %d corrupt", got.Sent, got.Duplicates(), got.Reordered(), got.Corrupt)
	}
	for _, number := range lost {
		earliest, latest := got.SentBetween(number)
		if !slices.ContainsFunc(requests, func(s span) bool { return earliest <= s.to && latest >= s.from }) {
			t.Errorf("datagram %d, sent after %s to %s, was lost with no change under way: %v", number, earliest, latest, requests)
		}
	}
}
