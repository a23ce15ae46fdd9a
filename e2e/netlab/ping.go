//go:build linux

package netlab

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// Pings is what the program ping saw.
type Pings struct {
	Sent, Received int
	// Duplicates are answers to what was answered before. They are not in Received.
	Duplicates int
	// RTT is the time of each answer, duplicates included.
	RTT []time.Duration
	// Least, Mean and Most have the microseconds that ping leaves out of each time
	// from 100 ms on.
	Least, Mean, Most time.Duration
	// Text is all that ping printed.
	Text string
}

// Median is the median RTT.
func (p Pings) Median() time.Duration { return Median(p.RTT) }

var (
	replyTime  = regexp.MustCompile(`time=([0-9.]+) ms`)
	extremes   = regexp.MustCompile(`= ([0-9.]+)/([0-9.]+)/([0-9.]+)/`)
	summary    = regexp.MustCompile(`([0-9]+) packets transmitted, ([0-9]+) received`)
	duplicates = regexp.MustCompile(`\+([0-9]+) duplicates`)
)

// pingWait is how long ping waits after the last request for what was not
// answered, in seconds.
const pingWait, pingShortWait = 3, 1

// PingNobody is Ping where no answer is to come: it waits a second only for one.
func (h *Host) PingNobody(t testing.TB, to string, count int, interval time.Duration) Pings {
	t.Helper()
	p, err := h.startPing(to, count, interval, pingShortWait)()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// PingFrom is PingNobody from one of the host's addresses.
func (h *Host) PingFrom(t testing.TB, source, to string, count int, interval time.Duration) Pings {
	t.Helper()
	p, err := h.startPing(to, count, interval, pingShortWait, "-I", source)()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Ping sends echo requests, so many and so far apart, and needs no answer to
// any.
func (h *Host) Ping(t testing.TB, to string, count int, interval time.Duration) Pings {
	t.Helper()
	p, err := h.StartPing(to, count, interval)()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// StartPing pings in the background; the returned function waits for the end.
func (h *Host) StartPing(to string, count int, interval time.Duration) (wait func() (Pings, error)) {
	return h.startPing(to, count, interval, pingWait)
}

func (h *Host) startPing(to string, count int, interval time.Duration, wait int, options ...string) func() (Pings, error) {
	options = append(options, "-n", "-c", strconv.Itoa(count), "-i", fmt.Sprintf("%.3f", interval.Seconds()), "-W", strconv.Itoa(wait), to)
	cmd := exec.Command("ping", options...)
	type result struct {
		pings Pings
		err   error
	}
	done := make(chan result, 1)
	go func() {
		out, err := h.Run(cmd) // exit status 1 only says that no reply came
		p, unread := parsePings(out)
		if unread != nil {
			unread = fmt.Errorf("ping %s: %w (%w)", to, unread, err)
		}
		done <- result{p, unread}
	}()
	return func() (Pings, error) { r := <-done; return r.pings, r.err }
}

func parsePings(text string) (Pings, error) {
	p := Pings{Text: text}
	for _, match := range replyTime.FindAllStringSubmatch(text, -1) {
		rtt, err := parseMilliseconds(match[1])
		if err != nil {
			return p, err
		}
		p.RTT = append(p.RTT, rtt)
	}
	match := summary.FindStringSubmatch(text)
	if match == nil {
		return p, fmt.Errorf("no summary in %q", text)
	}
	p.Sent, _ = strconv.Atoi(match[1])
	p.Received, _ = strconv.Atoi(match[2])
	if match := duplicates.FindStringSubmatch(text); match != nil {
		p.Duplicates, _ = strconv.Atoi(match[1])
	}
	if match := extremes.FindStringSubmatch(text); match != nil {
		for i, value := range []*time.Duration{&p.Least, &p.Mean, &p.Most} {
			var err error
			if *value, err = parseMilliseconds(match[1+i]); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

func parseMilliseconds(text string) (time.Duration, error) {
	ms, err := strconv.ParseFloat(text, 64)
	return time.Duration(ms * float64(time.Millisecond)), err
}

// StartSlowPing is StartPing where answers take up to wait.
func (h *Host) StartSlowPing(to string, count int, interval, wait time.Duration) (end func() (Pings, error)) {
	return h.startPing(to, count, interval, int(wait.Seconds()))
}
