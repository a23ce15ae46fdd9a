package surveyor

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"

	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

// grace is how much longer than its measurement the answer of an agent may take.
const grace = 5 * time.Second

// Run has agents measure until ctx ends. Only the replica that leads may run it, and once.
// When it returns, no request is in flight. It returns no error.
func (s *Surveyor) Run(ctx context.Context) error {
	queue := workqueue.NewTypedDelayingQueue[*agent]()
	s.start(queue, time.Now())
	var workers sync.WaitGroup
	for range parallel {
		workers.Go(func() {
			for {
				a, isOver := queue.Get()
				if isOver {
					return
				}
				s.look(ctx, a)
				queue.Done(a)
			}
		})
	}
	<-ctx.Done()
	queue.ShutDown()
	workers.Wait()
	return nil
}

// start schedules the agents that there are already.
func (s *Surveyor) start(queue workqueue.TypedDelayingInterface[*agent], now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue, s.opens = queue, now.Add(pause)
	for _, agents := range s.clusters {
		for _, a := range agents {
			s.schedule(a, now)
		}
	}
}

// schedule has a worker look at an agent when its next measurement is due. One that looks
// too early schedules it again.
func (s *Surveyor) schedule(a *agent, now time.Time) {
	if s.queue == nil || a.isBusy {
		return
	}
	if t, at := s.next(a); t != nil {
		s.queue.AddAfter(a, at.Sub(now))
	}
}

// next returns the next task of an agent, and when it is due. So many agents that each
// takes its turn take half of all measurements, so that pairs without a verdict never wait
// for them.
func (s *Surveyor) next(a *agent) (*task, time.Time) {
	interval := max(turn, time.Duration(s.count)*2*time.Second/perSecond)
	t, at := a.next(interval)
	return t, latest(at, s.opens)
}

// look has an agent measure if that is due.
func (s *Surveyor) look(ctx context.Context, a *agent) {
	if !s.isDue(a) || s.limit.Wait(ctx) != nil {
		return
	}
	t, target, check := s.begin(a)
	if t == nil {
		return
	}
	limited, cancel := context.WithTimeout(ctx, check.Longest()+grace)
	defer cancel()
	answer, err := s.options.Agents.Measure(limited, target, check.Measure())
	if ctx.Err() != nil {
		return
	}
	if j := judge(check, answer, err); s.end(a, t, j) {
		s.options.Changed(a.cluster)
	}
}

// isDue reports whether an agent is to measure now. If not, it is scheduled, or forgotten.
func (s *Surveyor) isDue(a *agent) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.due(a, now) != nil {
		return true
	}
	s.forget(a, now)
	return false
}

// due returns the task that an agent is to measure now. If there is none, the agent is
// scheduled for when there is.
func (s *Surveyor) due(a *agent, now time.Time) *task {
	t, at := s.next(a)
	if t == nil || at.After(now) || a.isBusy {
		s.schedule(a, now)
		return nil
	}
	busy := 0
	for _, other := range s.clusters[a.cluster] {
		if other.isBusy {
			busy++
		}
	}
	if busy >= perCluster {
		s.queue.AddAfter(a, recheck)
		return nil
	}
	return t
}

// begin returns what an agent is to measure now; nil for nothing.
func (s *Surveyor) begin(a *agent) (*task, Target, verify.Check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	t := s.due(a, now)
	if t == nil {
		return nil, Target{}, verify.Check{}
	}
	a.isBusy, a.began, a.rests, t.began = true, now, now.Add(pause), now
	a.isSecond = t.state.IsOpen() && t.state.Verdict != verify.Pending
	return t, a.target, t.Check
}

// end takes what an agent has measured, and reports whether something else is to be told by
// it: a pair that is wrong, or is so no more, at once; and all else as soon as there is a
// verdict on each pair of the same objects.
func (s *Surveyor) end(a *agent, t *task, j verify.Judgement) (isTold bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	a.isBusy, a.rests = false, latest(a.rests, now.Add(max(now.Sub(a.began), rest)))
	s.metrics.measured(j.Outcome)
	j = a.hear(j, now)
	if !t.isGone && !t.Waits {
		before := t.state
		if t.state.Note(j) {
			isWrong, wasWrong := t.state.Verdict == verify.Wrong, before.Verdict == verify.Wrong
			isTold = isWrong || wasWrong || !s.isOpen(a, t)
			if isWrong || wasWrong {
				s.options.Log.Info("pair of pods measured", "namespace", a.cluster.Namespace, "tidbcluster", a.cluster.Name,
					"from", t.From, "to", t.To, "asked", t.Asked.RTT, "outcome", j.Outcome, "before", j.Before, "measured", j.Measured)
				s.metrics.show(a.cluster, s.clusters[a.cluster])
			}
		}
	}
	s.schedule(a, now)
	s.forget(a, now)
	return isTold
}

// isOpen reports whether a pair of an object of a task has no verdict yet.
func (s *Surveyor) isOpen(a *agent, t *task) bool {
	for _, other := range s.clusters[a.cluster] {
		for _, o := range other.tasks {
			if o.state.Verdict == verify.Pending && slices.ContainsFunc(o.Objects, func(name string) bool { return slices.Contains(t.Objects, name) }) {
				return true
			}
		}
	}
	return false
}
