package netem

import (
	"fmt"
	"time"
)

// Packets that wait in a fault that ends have drainTime to leave on time. It is
// short, because whoever ends a long delay wants it gone. drainInterval is how
// often the engine looks whether they have left.
const (
	drainTime     = time.Second
	drainInterval = 2 * time.Millisecond
)

// drain waits until the netems that will be deleted are empty, or until
// drainTime is over. Their filters are gone already, so no packet comes in.
func (e *Engine) drain(k kernel, found foundDevices, targets targetTrees) error {
	deadline := time.NewTimer(drainTime)
	defer deadline.Stop()
	poll := time.NewTicker(drainInterval)
	defer poll.Stop()
	for late := false; ; {
		waiting, err := e.waiting(k, found, targets)
		if err != nil {
			return err
		}
		if len(waiting) == 0 {
			return nil
		}
		if late {
			for p, packets := range waiting {
				e.log.Warn("packets still waiting are dropped with their fault", "attachPoint", p.String(), "packets", packets)
			}
			return nil
		}
		select {
		case <-poll.C:
		case <-deadline.C:
			late = true
		}
	}
}

// waiting returns how many packets wait in netems that will be deleted, by
// attach point, without those that have none.
func (e *Engine) waiting(k kernel, found foundDevices, targets targetTrees) (map[attachPoint]uint64, error) {
	waiting := make(map[attachPoint]uint64)
	for _, p := range found.attachPoints() {
		t := found.tree(p)
		bands := t.bandsNotIn(targets[p])
		if len(bands) == 0 {
			continue
		}
		packets, err := k.waiting(t, bands)
		if err != nil {
			return nil, fmt.Errorf("drain: %w", err)
		}
		if packets > 0 {
			waiting[p] = packets
		}
	}
	return waiting, nil
}
