package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	probing "github.com/prometheus-community/pro-bing"
)

// interval is the time between two measurements of a target.
const interval = 50 * time.Millisecond

// rtts are the answers of a target.
type rtts struct {
	Sent int             `json:"sent"`
	RTTs []time.Duration `json:"rtts"`
}

// measure measures to all targets at once.
func measure(ctx context.Context, wait, count string, targets []string) (map[string]rtts, error) {
	patience, err := time.ParseDuration(wait)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 {
		return nil, fmt.Errorf("count %q: want a number from 1", count)
	}
	var (
		all      sync.WaitGroup
		mu       sync.Mutex
		measured = map[string]rtts{}
		problems error
	)
	for _, target := range targets {
		all.Go(func() {
			by := ping
			if _, _, err := net.SplitHostPort(target); err == nil {
				by = connect
			}
			got, err := by(ctx, target, n, patience)
			mu.Lock()
			defer mu.Unlock()
			measured[target] = got
			problems = errors.Join(problems, err)
		})
	}
	all.Wait()
	return measured, problems
}

// ping sends so many echo requests.
func ping(ctx context.Context, target string, count int, wait time.Duration) (rtts, error) {
	pinger, err := probing.NewPinger(target)
	if err != nil {
		return rtts{}, fmt.Errorf("ping %s: %w", target, err)
	}
	pinger.SetPrivileged(true)
	pinger.Count, pinger.Interval = count, interval
	// The last one is waited for from when it is sent: on a machine that has too much to do,
	// that is later than the interval says.
	const late = 30 * time.Second
	pinger.Timeout = time.Duration(count-1)*interval + late + wait
	pinger.OnSend = func(p *probing.Packet) {
		if p.Seq == count-1 {
			time.AfterFunc(wait, pinger.Stop)
		}
	}
	if err := pinger.RunWithContext(ctx); err != nil {
		return rtts{}, fmt.Errorf("ping %s: %w", target, err)
	}
	statistics := pinger.Statistics()
	return rtts{Sent: statistics.PacketsSent, RTTs: statistics.Rtts}, nil
}

// connect makes so many TCP connections, and closes each at once. One that is refused or
// not answered is lost.
func connect(ctx context.Context, target string, count int, wait time.Duration) (rtts, error) {
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		got   = rtts{Sent: count}
		dial  = net.Dialer{Timeout: wait}
		pause = time.NewTicker(interval)
	)
	defer pause.Stop()
	for range count {
		all.Go(func() {
			start := time.Now()
			conn, err := dial.DialContext(ctx, "tcp", target)
			rtt := time.Since(start)
			if err != nil {
				return
			}
			_ = conn.Close()
			mu.Lock()
			defer mu.Unlock()
			got.RTTs = append(got.RTTs, rtt)
		})
		<-pause.C
	}
	all.Wait()
	return got, nil
}
