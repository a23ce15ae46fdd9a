package keeper

import (
	"context"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// lanes are the agents that something is to be done about. Agents that did not answer
// last time have a lane with workers of their own, so that the others do not wait while
// requests to those run out of time.
type lanes struct{ answering, silent lane }

type lane = workqueue.TypedDelayingInterface[*agent]

func (l *lanes) of(a *agent) lane {
	if a.silent {
		return l.silent
	}
	return l.answering
}

// Run asks the agents until ctx ends. Only the replica that leads may run it, and once.
// When it returns, no request is in flight. It returns no error.
func (k *Keeper) Run(ctx context.Context) error {
	all := &lanes{workqueue.NewTypedDelayingQueue[*agent](), workqueue.NewTypedDelayingQueue[*agent]()}
	k.start(all, time.Now())
	var workers sync.WaitGroup
	for i := range k.options.Parallel {
		from := all.answering
		if i%2 == 1 {
			from = all.silent
		}
		workers.Go(func() { k.work(ctx, from) })
	}
	<-ctx.Done()
	all.answering.ShutDown()
	all.silent.ShutDown()
	workers.Wait()
	return nil
}

// start schedules the agents that there are already.
func (k *Keeper) start(all *lanes, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lanes = all
	for _, agents := range k.agents {
		for _, a := range agents {
			k.schedule(a, now)
		}
	}
}

// schedule has a worker look at an agent when something is to be done about it. One that
// looks too early schedules it again.
func (k *Keeper) schedule(a *agent, now time.Time) {
	if k.lanes == nil || a.target == nil {
		return
	}
	if next := a.next(now); !next.IsZero() {
		k.lanes.of(a).AddAfter(a, next.Sub(now))
	}
}

// work looks at the agents of a lane until it is shut down. What is left in it then is
// not looked at.
func (k *Keeper) work(ctx context.Context, from lane) {
	for {
		a, isOver := from.Get()
		if isOver {
			return
		}
		if ctx.Err() == nil {
			k.look(ctx, a, from)
		}
		from.Done(a)
	}
}

// look asks an agent if that is due.
func (k *Keeper) look(ctx context.Context, a *agent, from lane) {
	asking, cancel := context.WithTimeout(ctx, k.options.Timeout)
	defer cancel()
	r, n := k.begin(a, from, cancel)
	k.tell(n)
	if r == nil {
		return
	}
	answer, err := k.options.Agents.Replace(asking, *r.target, r.faults)
	k.tell(k.end(ctx, a, answer, err))
}

// begin returns the request that is due, or nil for none. cancel will end it.
func (k *Keeper) begin(a *agent, from lane, cancel context.CancelFunc) (*request, news) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	n := a.news(a.settle(now))
	if k.lanes.of(a) == from {
		if r := a.begin(now); r != nil {
			r.cancel = cancel
			return r, n
		}
	}
	k.schedule(a, now)
	return nil, n
}

// end takes the result of the request that was in flight to an agent.
func (k *Keeper) end(ctx context.Context, a *agent, answer api.Changes, err error) news {
	k.mu.Lock()
	defer k.mu.Unlock()
	r, now := a.flight, time.Now()
	if r.dropped || ctx.Err() != nil {
		a.flight = nil
		k.forgetIfGone(a)
		k.schedule(a, now)
		return news{}
	}
	res, before, isFirst := r.judge(answer, err, k.options.Timeout), a.held, a.confirmed == nil
	k.metrics.count(res.outcome, now.Sub(r.sent))
	a.end(res, now)
	if res.outcome != ok {
		a.due = latest(a.due, now.Add(k.retries.ReserveN(now, 1).DelayFrom(now)))
	}
	n := a.news(a.settle(now))
	if res.outcome == ok {
		n.putRight, n.target = r.putRight(answer, before, now), r.target
		if isFirst {
			n.leftovers = removed(answer)
		}
	}
	k.schedule(a, now)
	return n
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
