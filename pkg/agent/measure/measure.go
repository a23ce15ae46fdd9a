package measure

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	probing "github.com/prometheus-community/pro-bing"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Run measures to all targets of a plan at the same time. A target without an
// answer has an error in its result. Results are in the order of the targets.
func Run(ctx context.Context, p Plan) []api.Measurement {
	results := make([]api.Measurement, len(p.Targets))
	var group sync.WaitGroup
	for i, target := range p.Targets {
		group.Go(func() {
			measure := handshakes
			if target.Port == 0 {
				measure = echoes
			}
			s := measure(ctx, target, p)
			results[i] = s.summary(target, p.Count)
		})
	}
	group.Wait()
	return results
}

// samples are the RTTs to one target.
type samples struct {
	rtt []time.Duration
	err error // why the last sample without an answer got none
}

// handshakes measures by TCP connects: from the SYN until the answer to it. A
// refusal (RST) is an answer too.
func handshakes(ctx context.Context, target Target, p Plan) samples {
	var s samples
	ticker := time.NewTicker(p.Interval)
	defer ticker.Stop()
	for n := range p.Count {
		if n > 0 {
			select {
			case <-ctx.Done():
				return samples{rtt: s.rtt, err: ctx.Err()}
			case <-ticker.C:
			}
		}
		rtt, err := handshake(ctx, target, p.Timeout)
		if err != nil {
			s.err = err
			continue
		}
		s.rtt = append(s.rtt, rtt)
	}
	return s
}

func handshake(ctx context.Context, target Target, timeout time.Duration) (time.Duration, error) {
	dialer := net.Dialer{Timeout: timeout, KeepAlive: -1}
	start := time.Now()
	conn, err := dialer.DialContext(ctx, "tcp", target.String())
	rtt := time.Since(start)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return rtt, nil
	}
	if err != nil {
		return 0, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // close by RST, so that none is left in TIME_WAIT
	}
	_ = conn.Close()
	return rtt, nil
}

// echoes measures by ICMP echo. It uses the kernel's unprivileged ICMP socket
// (icmp(7), sysctl net.ipv4.ping_group_range), because the agent has no
// CAP_NET_RAW.
func echoes(ctx context.Context, target Target, p Plan) samples {
	pinger := probing.New("")
	pinger.SetIPAddr(&net.IPAddr{IP: target.Addr.AsSlice()})
	pinger.SetPrivileged(false)
	pinger.Count, pinger.Interval, pinger.Timeout = p.Count, p.Interval, p.Time()
	pinger.RecordRtts = true
	if err := pinger.RunWithContext(ctx); err != nil {
		if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) {
			err = fmt.Errorf("this pod may not send ICMP echo (sysctl net.ipv4.ping_group_range); measure by TCP, IP:PORT: %w", err)
		}
		return samples{err: err}
	}
	s := samples{rtt: pinger.Statistics().Rtts}
	if len(s.rtt) < p.Count {
		s.err = fmt.Errorf("no echo reply within %s", p.Timeout)
	}
	return s
}

// summary returns the samples as the API shows them.
func (s samples) summary(target Target, count int) api.Measurement {
	m := api.Measurement{Target: target.String(), Protocol: target.Protocol(), Sent: count, Received: len(s.rtt), Samples: []float64{}}
	for _, rtt := range s.rtt {
		m.Samples = append(m.Samples, milliseconds(rtt))
	}
	if len(s.rtt) > 0 {
		sorted := slices.Sorted(slices.Values(m.Samples))
		m.Min, m.Median, m.P99 = &sorted[0], new(quantile(sorted, 0.5)), new(quantile(sorted, 0.99))
	}
	if s.err != nil && m.Received < count {
		m.Error = s.err.Error()
	}
	return m
}

// quantile returns the smallest sample that is at least as large as a share q of
// all (nearest rank). There is at least one sample.
func quantile(sorted []float64, q float64) float64 {
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}

// milliseconds returns a time in ms, rounded to whole microseconds.
func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/1e3) / 1e3
}
