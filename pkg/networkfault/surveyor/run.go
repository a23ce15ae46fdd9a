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

// next returns the next task of an agent, and when it is due. Routine measurements of all agents
// together take at most half of perSecond, so that pairs without a verdict never wait for them.
func (s *Surveyor) next(a *agent) (*task, time.Time) {
	t, at := a.next(time.Duration(s.count) * 2 * time.Second / perSecond)
	return t, latest(at, s.opens)
}

// look has an agent measure if that is due.
func (s *Surveyor) look(ctx context.Context, a *agent) {
	if !s.isDue(a) || s.limit.Wait(ctx) != nil {
		return
	}
	tasks, target, check := s.begin(a)
	if len(tasks) == 0 {
		return
	}
	limited, cancel := context.WithTimeout(ctx, check.Longest()+grace)
	defer cancel()
	found := s.ask(limited, target, check)
	if ctx.Err() != nil {
		return
	}
	isTold, doubted := s.end(a, tasks, found)
	if len(doubted) > 0 {
		s.options.Doubt(a.cluster, doubted...)
	}
	if isTold {
		s.options.Changed(a.cluster)
	}
}

// ask has an agent measure a pair, or reads its counters. It returns what says for each task
// what was found.
func (s *Surveyor) ask(ctx context.Context, target Target, check verify.Check) func(*task) verify.Judgement {
	if !check.IsCounted() {
		answer, err := s.options.Agents.Measure(ctx, target, check.Measure())
		j := judge(check, answer, err)
		return func(*task) verify.Judgement { return j }
	}
	began := time.Now()
	status, err := s.options.Agents.Status(ctx, target)
	ended := time.Now()
	return func(t *task) verify.Judgement { return t.compare(status, err, began, ended) }
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

// due returns the task that an agent is to do now. If there is none, the agent is scheduled
// for when there is.
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

// begin returns what an agent is to measure now, or whose counters are read: none for nothing,
// and else the check of one of them.
func (s *Surveyor) begin(a *agent) ([]*task, Target, verify.Check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	t := s.due(a, now)
	if t == nil {
		return nil, Target{}, verify.Check{}
	}
	a.begin(now)
	if t.isInDoubt() {
		a.looks++
	} else {
		a.looks = 0
	}
	tasks := a.with(t)
	for _, one := range tasks {
		one.began, one.isStale = now, false
	}
	return tasks, a.target, t.Check
}

// end takes what an agent has measured or counted. It reports whether something else is to
// be told by it, and returns the pods whose agents may have lost their faults by it.
func (s *Surveyor) end(a *agent, tasks []*task, found func(*task) verify.Judgement) (isTold bool, doubted []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	a.isBusy, a.rests = false, now.Add(max(now.Sub(a.began), rest))
	for _, t := range tasks {
		j := found(t)
		s.metrics.measured(j.Outcome)
		j = a.hear(t, j, now)
		if t.isGone || t.isStale || t.Waits {
			continue
		}
		if j.Outcome == verify.NotHeld || j.Outcome.Doubts() && t.state.Verdict != verify.Wrong {
			doubted = append(doubted, t.pods()...)
		}
		if s.note(a, t, j) {
			isTold = true
		}
	}
	s.schedule(a, now)
	s.forget(a, now)
	slices.Sort(doubted)
	return isTold, slices.Compact(doubted)
}

// note notes what was found, and reports whether something else is to be told by it: what is
// wrong, or is so no more, at once; and all else as soon as there is a verdict on everything
// of the same objects.
func (s *Surveyor) note(a *agent, t *task, j verify.Judgement) (isTold bool) {
	before := t.state.Verdict
	if !t.state.Note(j) {
		return false
	}
	if t.state.Verdict != verify.Wrong && before != verify.Wrong {
		return !s.isOpen(a, t)
	}
	log := s.options.Log.WithValues("namespace", a.cluster.Namespace, "tidbcluster", a.cluster.Name, "from", t.From, "outcome", j.Outcome)
	if t.IsCounted() {
		log.Info("counters of a pod compared", "fault", t.Counted.Fault, "found", j.Why)
	} else {
		log.Info("pair of pods measured", "to", t.To, "asked", t.Asked.RTT, "before", j.Before, "measured", j.Measured)
	}
	s.metrics.show(a.cluster, s.clusters[a.cluster])
	return true
}

// isOpen reports whether a pair or a counter of an object of a task has no verdict yet.
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
