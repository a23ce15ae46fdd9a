//go:build linux

package nfqueue

import (
	"context"
	"errors"
	"slices"
	"time"
)

// watchInterval is how often to look for what is in the way of copies, while
// there are copies: a firewall of the pod may come after the faults, and go.
const watchInterval = time.Second

// watch has the rules follow what is in the way of copies, until ctx ends. A
// failure is logged once and tried again.
func (e *Engine) watch(ctx context.Context) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := e.followObstacles()
		if err != nil && !failing {
			e.log.Error("follow what is in the way of copies", "err", err)
		}
		failing = err != nil
	}
}

// obstacles returns what is in the way of copies. While some are made, it is what
// watch has seen, which corrects it.
func (e *Engine) obstacles() obstacles {
	if slices.ContainsFunc(e.applied.faults, waitsOnEgress) {
		return e.applied.obstacles
	}
	return findObstacles(e.families)
}

// followObstacles applies the faults again if something came in the way of
// copies, or is gone.
func (e *Engine) followObstacles() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.checkOpen(); err != nil {
		return err
	}
	previous := e.applied
	if !slices.ContainsFunc(previous.faults, waitsOnEgress) {
		return nil
	}
	now := findObstacles(e.families)
	if now.equal(previous.obstacles) {
		return nil
	}
	found, err := e.rules.current()
	if err != nil {
		return err
	}
	if err := e.change(found, layout{previous.faults, previous.slots, now}); err != nil {
		return errors.Join(err, e.rollBack(previous))
	}
	e.log.Info("rules changed, since what can stop copies did", "obstacles", now)
	return nil
}
