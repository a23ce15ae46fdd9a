package measure

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	for _, c := range []struct {
		sorted    []float64
		q, expect float64
	}{
		{[]float64{7}, 0, 7},
		{[]float64{7}, 0.5, 7},
		{[]float64{7}, 0.99, 7},
		{[]float64{1, 2}, 0.5, 1},
		{[]float64{1, 2, 3}, 0.5, 2},
		{[]float64{1, 2, 3}, 0.99, 3},
		{[]float64{1, 2, 3}, 1, 3},
		{hundred, 0, 1},
		{hundred, 0.5, 50},
		{hundred, 0.99, 99},
		{hundred, 1, 100},
	} {
		if got := quantile(c.sorted, c.q); got != c.expect {
			t.Errorf("quantile %v of %d samples = %v, want %v", c.q, len(c.sorted), got, c.expect)
		}
	}
}

func TestSummary(t *testing.T) {
	target := Target{Addr: netip.MustParseAddr("10.0.0.5"), Port: 1}
	some := samples{rtt: []time.Duration{3 * time.Millisecond, time.Millisecond, 2_000_499 * time.Nanosecond}, err: errors.New("late")}.summary(target, 4)
	if !slices.Equal(some.Samples, []float64{3, 1, 2}) || *some.Min != 1 || *some.Median != 2 || *some.P99 != 3 || some.Sent != 4 || some.Received != 3 || some.Error != "late" {
		t.Errorf("three of four: %+v", some)
	}
	none := samples{err: errors.New("late")}.summary(target, 4)
	if none.Samples == nil || none.Min != nil || none.Median != nil || none.P99 != nil || none.Error != "late" {
		t.Errorf("none of four: %+v", none)
	}
	all := samples{rtt: []time.Duration{time.Microsecond}}.summary(target, 1)
	if all.Error != "" || *all.P99 != 0.001 || all.Target != "10.0.0.5:1" || all.Protocol != "tcp" {
		t.Errorf("all: %+v", all)
	}
}

// listen returns the address of a port that accepts connections, or of one
// that nobody listens on any more.
func listen(t *testing.T, open bool) Target {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(listener.Addr().String())
	if open {
		t.Cleanup(func() { _ = listener.Close() })
	} else if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return Target{Addr: addr.Addr(), Port: addr.Port()}
}

func TestRunMeasuresByTCP(t *testing.T) {
	open, closed := listen(t, true), listen(t, false)
	p := Plan{Targets: []Target{open, closed}, Count: 5, Interval: 10 * time.Millisecond, Timeout: 5 * time.Second}
	start := time.Now()
	got := Run(t.Context(), p)
	if took := time.Since(start); took < 4*p.Interval {
		t.Errorf("took %s, want at least four intervals", took)
	}
	if len(got) != 2 {
		t.Fatalf("%d results", len(got))
	}
	for i, target := range p.Targets { // a refusal (RST) answers as well
		m := got[i]
		if m.Target != target.String() || m.Sent != 5 || m.Received != 5 || len(m.Samples) != 5 || m.Error != "" {
			t.Errorf("%s: %+v", target, m)
			continue
		}
		if *m.Min < 0 || *m.Min > *m.Median || *m.Median > *m.P99 || *m.P99 > 5_000 {
			t.Errorf("%s: min %v, median %v, p99 %v", target, *m.Min, *m.Median, *m.P99)
		}
	}
}

// Who may send ICMP echo without CAP_NET_RAW is up to the pod: those whose
// group is within a range (icmp(7)).
func TestRunMeasuresByICMP(t *testing.T) {
	content, err := os.ReadFile("/proc/sys/net/ipv4/ping_group_range")
	if err != nil {
		t.Fatal(err)
	}
	var first, last int
	if _, err := fmt.Sscan(string(content), &first, &last); err != nil {
		t.Fatal(err)
	}
	p := Plan{Targets: []Target{{Addr: netip.MustParseAddr("127.0.0.1")}}, Count: 3, Interval: 10 * time.Millisecond, Timeout: 5 * time.Second}
	m := Run(t.Context(), p)[0]
	if first <= os.Getegid() && os.Getegid() <= last {
		if m.Received != 3 || m.Error != "" || *m.Min < 0 || *m.P99 > 5_000 {
			t.Errorf("%+v", m)
		}
	} else if m.Received != 0 || !strings.Contains(m.Error, "ping_group_range") || !strings.Contains(m.Error, "IP:PORT") {
		t.Errorf("this pod may not ping: %+v, want what can be done about it", m)
	}
}

func TestRunLeavesNoConnectionOpen(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	ended := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			_, err = conn.Read(make([]byte, 1))
			_ = conn.Close()
		}
		ended <- err
	}()
	addr := netip.MustParseAddrPort(listener.Addr().String())
	Run(t.Context(), Plan{Targets: []Target{{addr.Addr(), addr.Port()}}, Count: 1, Interval: time.Millisecond, Timeout: time.Second})
	var timeout net.Error
	if err := <-ended; err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("the peer reads %v, want the end of the connection", err)
	}
}

func TestRunEndsWithTheRequest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	start := time.Now()
	got := Run(ctx, Plan{Targets: []Target{listen(t, true)}, Count: 100, Interval: time.Second, Timeout: time.Second})
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %s after the end of the request", took)
	}
	if got[0].Received != 0 || got[0].Error == "" {
		t.Errorf("%+v", got[0])
	}
}
