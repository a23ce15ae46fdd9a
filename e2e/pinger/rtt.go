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

// rtts are the answers of a target.
type rtts struct {
	Sent int             `json:"sent"`
	RTTs []time.Duration `json:"rtts"`
}

// plan is how each target is measured: so often, with so much time between two, and no answer
// that is later than wait.
type plan struct {
	count          int
	interval, wait time.Duration
}

func parsePlan(wait, interval, count string) (p plan, err error) {
	if p.wait, err = time.ParseDuration(wait); err != nil {
		return plan{}, err
	}
	if p.interval, err = time.ParseDuration(interval); err != nil || p.interval <= 0 {
		return plan{}, fmt.Errorf("interval %q: want a duration above 0", interval)
	}
	if p.count, err = strconv.Atoi(count); err != nil || p.count < 1 {
		return plan{}, fmt.Errorf("count %q: want a number from 1", count)
	}
	return p, nil
}

// measure measures to all targets at once.
func measure(ctx context.Context, p plan, targets []string) (map[string]rtts, error) {
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
			got, err := by(ctx, target, p)
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
func ping(ctx context.Context, target string, plan plan) (rtts, error) {
	pinger, err := probing.NewPinger(target)
	if err != nil {
		return rtts{}, fmt.Errorf("ping %s: %w", target, err)
	}
	pinger.SetPrivileged(true)
	pinger.Count, pinger.Interval = plan.count, plan.interval
	// The last one is waited for from when it is sent: on a machine that has too much to do,
	// that is later than the interval says.
	const late = 30 * time.Second
	pinger.Timeout = time.Duration(plan.count-1)*plan.interval + late + plan.wait
	pinger.OnSend = func(p *probing.Packet) {
		if p.Seq == plan.count-1 {
			time.AfterFunc(plan.wait, pinger.Stop)
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
func connect(ctx context.Context, target string, plan plan) (rtts, error) {
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		got   = rtts{Sent: plan.count}
		dial  = net.Dialer{Timeout: plan.wait}
		pause = time.NewTicker(plan.interval)
	)
	defer pause.Stop()
	for range plan.count {
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
