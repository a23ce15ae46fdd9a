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

// Run measures all targets of a plan at the same time. A target without an
// answer has an error in its result.
func Run(ctx context.Context, p Plan) []api.Measurement {
	results := make([]api.Measurement, len(p.Targets))
	var group sync.WaitGroup
	for i, target := range p.Targets {
		group.Go(func() {
			take := handshakes
			if target.Port == 0 {
				take = echoes
			}
			s := take(ctx, target, p)
			results[i] = s.summary(target, p.Count)
		})
	}
	group.Wait()
	return results
}

// samples is what one target gave.
type samples struct {
	rtt []time.Duration
	err error // why the last sample that is missing is missing
}

// handshakes times TCP connects: the SYN's way there and the answer's back. A
// refusal answers as well.
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
	took := time.Since(start)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return took, nil
	}
	if err != nil {
		return 0, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // leave no connection behind that waits
	}
	_ = conn.Close()
	return took, nil
}

// echoes times ICMP echo over the kernel's unprivileged socket
// (net.ipv4.ping_group_range), since the agent has no CAP_NET_RAW.
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

// summary is what the API shows.
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

// quantile is the smallest sample that at least a share q of all does not
// exceed (nearest rank).
func quantile(sorted []float64, q float64) float64 {
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}

// milliseconds to the microsecond.
func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/1e3) / 1e3
}
