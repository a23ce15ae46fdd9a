//go:build kernel

package kernel

import (
	"fmt"
	"math"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"
)

// pings is what ping saw.
type pings struct {
	sent, received int
	rtt            []time.Duration
}

func (p pings) median() time.Duration {
	return median(p.rtt)
}

func median(values []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

var (
	replyTime = regexp.MustCompile(`time=([0-9.]+) ms`)
	average   = regexp.MustCompile(`= [0-9.]+/([0-9.]+)/`)
	summary   = regexp.MustCompile(`([0-9]+) packets transmitted, ([0-9]+) received`)
)

// ping sends count echo requests, interval apart, and needs no answer to any.
func (h host) ping(t testing.TB, to string, count int, interval time.Duration) pings {
	t.Helper()
	p, err := h.startPing(to, count, interval)()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// startPing pings in the background; the returned function waits for the end.
func (h host) startPing(to string, count int, interval time.Duration) func() (pings, error) {
	cmd := exec.Command("ip", "netns", "exec", h.netns, "ping", "-n",
		"-c", strconv.Itoa(count), "-i", fmt.Sprintf("%.3f", interval.Seconds()), "-W", "3", to)
	type result struct {
		pings
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := cmd.Output() // exit status 1 only says that no reply came
		p, parseErr := parsePings(string(out))
		if parseErr != nil {
			done <- result{err: fmt.Errorf("ping %s: %w (%w)", to, parseErr, err)}
			return
		}
		done <- result{pings: p}
	}()
	return func() (pings, error) { r := <-done; return r.pings, r.err }
}

func parsePings(out string) (pings, error) {
	var p pings
	for _, match := range replyTime.FindAllStringSubmatch(out, -1) {
		ms, err := strconv.ParseFloat(match[1], 64)
		if err != nil {
			return p, err
		}
		p.rtt = append(p.rtt, time.Duration(ms*float64(time.Millisecond)))
	}
	match := summary.FindStringSubmatch(out)
	if match == nil {
		return p, fmt.Errorf("no summary in %q", out)
	}
	p.sent, _ = strconv.Atoi(match[1])
	p.received, _ = strconv.Atoi(match[2])
	return p, nil
}

// A quick ping is enough for a median that one late scheduling can't move.
const (
	samples  = 30
	interval = 20 * time.Millisecond
)

// rtt is the median RTT of a series in which no ping may be lost.
func (h host) rtt(t testing.TB, to string) time.Duration {
	t.Helper()
	p := h.ping(t, to, samples, interval)
	if p.received != samples {
		t.Fatalf("ping %s: %d of %d replies", to, p.received, samples)
	}
	if p.median() < 100*time.Millisecond {
		return p.median()
	}
	return h.longRTT(t, to)
}

// longRTT is rtt where ping prints whole milliseconds for a single reply, from
// 100 ms on: the summary of one ping still has the microseconds.
func (h host) longRTT(t testing.TB, to string) time.Duration {
	t.Helper()
	var times []time.Duration
	for range 9 {
		out := h.exec(t, "ping -n -q -c 1 -W 3 "+to)
		match := average.FindStringSubmatch(out)
		if match == nil {
			t.Fatalf("ping %s: no average in %q", to, out)
		}
		ms, err := strconv.ParseFloat(match[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, time.Duration(ms*float64(time.Millisecond)))
	}
	return median(times)
}

// leastDelayed is below the RTT under any delay of these tests, and above the
// RTT without.
const leastDelayed = 450 * time.Microsecond

// attempts is how often a median is taken again before it counts as wrong: on
// a busy machine a whole series can be late, but not every one.
const attempts = 4

// wantRTT pings until the median RTT is what it should be.
func (h host) wantRTT(t testing.TB, what, to string, want time.Duration) {
	t.Helper()
	for left := attempts - 1; ; left-- {
		got := h.rtt(t, to)
		t.Logf("%s: median RTT %s, want %s", what, got, want)
		off := (got - want).Abs()
		// A delay that is as small as the tolerance must still be seen.
		if off <= tolerance() && (want < leastDelayed || got > want/2) {
			return
		}
		if left == 0 {
			t.Errorf("%s: median RTT %s, want %s: off by %s, tolerance %s", what, got, want, off, tolerance())
			return
		}
	}
}

// connectTime is the shortest of some TCP handshakes, so that a busy machine
// does not count.
func (h host) connectTime(t testing.TB, address string) time.Duration {
	t.Helper()
	shortest := time.Duration(math.MaxInt64)
	err := h.inside(func() error {
		for range 9 {
			start := time.Now()
			conn, err := net.DialTimeout("tcp", address, 10*time.Second)
			if err != nil {
				return err
			}
			shortest = min(shortest, time.Since(start))
			_ = conn.Close()
		}
		return nil
	})
	if err != nil {
		t.Fatalf("connect to %s: %v", address, err)
	}
	return shortest
}
