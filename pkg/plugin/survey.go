package plugin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/agent/api"
	agentclient "github.com/tidelay/tidelay/pkg/agent/client"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
	"github.com/tidelay/tidelay/pkg/plugin/measured"
	"github.com/tidelay/tidelay/pkg/plugin/report"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

const (
	// maxAgents is how many agents measure at once.
	maxAgents = 8
	// measuredTime is how long an agent may take to answer beside what it measures.
	measuredTime = 10 * time.Second
)

// survey has agents measure the pairs of a matrix, each agent one batch at a time.
type survey struct {
	asker agents.Asker
	pods  []*corev1.Pod
	// poll is the least time to wait for an agent that measures for somebody else.
	poll time.Duration
	// progress is told how many pairs are done, of how many.
	progress func(done, all int)

	mu     sync.Mutex
	matrix *measured.Matrix
	// silent are why agents have not said what they hold.
	silent []error
}

// run has the agents measure. When ctx is done, what is left has reason late. The error is that
// nothing can be measured: the person has no right to.
func (s *survey) run(ctx context.Context, late string) error {
	during, stop := context.WithCancel(ctx)
	defer stop()
	replies := agents.Ask(during, s.asker, s.pods, func(ctx context.Context, agent *agents.Agent) (struct{}, error) {
		err := s.measureFrom(ctx, agent)
		switch {
		case err == nil, ctx.Err() != nil: // what is left is late
		case agents.OutcomeOf(err) == agents.Forbidden:
			stop() // the others may not be asked either
		default:
			s.fail(agent.Pod.Name, cause(agent.Pod.Name, err))
		}
		return struct{}{}, err
	})
	for i, pod := range s.pods {
		if err := replies[i].Err; agents.OutcomeOf(err) == agents.Forbidden {
			return forbidden(err, pod.Namespace)
		}
	}
	for _, p := range s.matrix.Pairs {
		p.Fail(late)
	}
	if len(s.silent) > 0 {
		s.matrix.Unseen = append(slices.Clip(s.matrix.Unseen), unheard(s.silent))
	}
	return nil
}

// unheard says that agents have not said what they hold, for some reasons.
func unheard(why []error) string {
	for _, err := range why {
		if agents.OutcomeOf(err) == agents.Forbidden {
			return "you may not ask agents what they hold, so faults set by hand are not known; the right to " + agents.MissingRight(err, "get") + " would show them"
		}
	}
	return tidbcluster.Plural(len(why), "agent") + " did not say what is held there, so faults set by hand there are not known"
}

// measureFrom has one agent measure until there is nothing more to ask it.
func (s *survey) measureFrom(ctx context.Context, agent *agents.Agent) error {
	s.noteHeld(ctx, agent)
	for {
		checks, byCheck := s.open(agent.Pod.Name)
		if len(checks) == 0 {
			return nil
		}
		for _, batch := range verify.Batches(checks) {
			if err := s.measure(ctx, agent, batch, byCheck); err != nil {
				return err
			}
		}
	}
}

// noteHeld notes what an agent holds that somebody set by hand. Where it does not tell, it may
// measure all the same.
func (s *survey) noteHeld(ctx context.Context, agent *agents.Agent) {
	status, err := agent.Status(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.silent = append(s.silent, err)
	}
	for _, h := range report.ByHand(status.Faults) {
		s.matrix.SetByHand(agent.Pod.Name, h.Name, h.What)
	}
}

// forbidden names the right that is missing.
func forbidden(err error, namespace string) error {
	if _, isProxy := errors.AsType[*agentclient.Error](err); !isProxy {
		return err // the agents' token can't be read
	}
	return fmt.Errorf("you may not ask agents: measuring needs the right to create the subresource pods/proxy in namespace %s", namespace)
}

// cause says why the agent of a pod did not measure.
func cause(pod string, err error) string {
	refusal, isRefusal := errors.AsType[*agentclient.Error](err)
	switch outcome := agents.OutcomeOf(err); {
	case outcome == agents.Failed:
		return fmt.Sprintf("asking the agent of %s failed: %s", pod, agents.Cause(err))
	case outcome == agents.Unreachable:
		return fmt.Sprintf("the agent of %s does not answer: %s", pod, agents.Cause(err))
	case isRefusal && (refusal.Status == http.StatusNotFound || refusal.Status == http.StatusMethodNotAllowed):
		return fmt.Sprintf("the agent of %s did not measure: it is of a version that can't", pod)
	default:
		return fmt.Sprintf("the agent of %s did not measure: %s", pod, agents.Cause(err))
	}
}

// open returns what an agent is to measure still.
func (s *survey) open(pod string) ([]verify.Check, map[verify.Check]*measured.Pair) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var checks []verify.Check
	byCheck := map[verify.Check]*measured.Pair{}
	for _, p := range s.matrix.From(pod) {
		if p.IsOpen() {
			checks = append(checks, p.Check)
			byCheck[p.Check] = p
		}
	}
	return checks, byCheck
}

// fail notes why what is left of an agent is not measured.
func (s *survey) fail(pod, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.matrix.From(pod) {
		p.Fail(why)
	}
	s.tell()
}

// measure has an agent measure one batch, and waits while it measures for somebody else.
func (s *survey) measure(ctx context.Context, agent *agents.Agent, batch verify.Batch, byCheck map[verify.Check]*measured.Pair) error {
	answer, err := s.ask(ctx, agent, batch)
	if err != nil {
		return err
	}
	judgements, err := batch.Judge(answer)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range batch {
		byCheck[c].Note(judgements[i])
	}
	s.tell()
	return nil
}

// ask asks until the agent has time.
func (s *survey) ask(ctx context.Context, agent *agents.Agent, batch verify.Batch) (api.Measurements, error) {
	for {
		answer, err := agent.Measure(ctx, batch.Measure(), batch.Longest())
		refusal, is := errors.AsType[*agentclient.Error](err)
		if !is || refusal.Status != http.StatusTooManyRequests {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return answer, err
		case <-time.After(max(refusal.RetryAfter, s.poll)):
		}
	}
}

// tell tells how many pairs are done. The mutex must be held.
func (s *survey) tell() {
	done := 0
	for _, p := range s.matrix.Pairs {
		if !p.IsOpen() {
			done++
		}
	}
	s.progress(done, len(s.matrix.Pairs))
}
