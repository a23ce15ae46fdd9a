// Package attach decides which running pods of a TidbCluster get an agent as an ephemeral
// container.
//
// The package is pure.
package attach

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/plugin/container"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// ErrProtected is that a TidbCluster takes no faults.
var ErrProtected = errors.New("refused by Protected")

// Wish is what is asked for.
type Wish struct {
	// Config has the settings of agents, and their image.
	Config injection.Config
	// IsKnown is whether Config is the injector's. If it is not, it is not known whether agents
	// are to ask for a token.
	IsKnown bool
	// Components are those whose pods are meant; empty for all.
	Components []tidbcluster.Component
	// Longest is the longest life of a fault.
	Longest time.Duration
	// PodSecurity is the level that the namespace enforces; "" for none, or if that is not
	// known.
	PodSecurity string
}

// Outcome says what becomes of a pod.
type Outcome string

// The outcomes.
const (
	// Attach: the pod gets an agent.
	Attach Outcome = "attach"
	// HasAgent: it has one already, that may or may not run.
	HasAgent Outcome = "has one"
	// LeftOut: the TidbCluster or the pod asks for none.
	LeftOut Outcome = "left out"
	// Impossible: it can't have one.
	Impossible Outcome = "impossible"
)

// Step is what becomes of a pod, and why.
type Step struct {
	Pod       *corev1.Pod
	Component tidbcluster.Component
	Outcome   Outcome
	Why       string
	// Container is the one that is added, if the Outcome is Attach.
	Container corev1.EphemeralContainer
}

// Plan is what becomes of the pods of a TidbCluster.
type Plan struct {
	cluster string
	image   string
	isKnown bool
	// longest is the longest life of a fault, and asked what was asked for.
	longest, asked time.Duration
	Steps          []Step
}

// Of plans what is asked for. The error says why no pod of the TidbCluster can have an agent;
// it is ErrProtected if faults are refused.
func Of(c *look.Cluster, w Wish) (*Plan, error) {
	if c.Object == nil {
		return nil, fmt.Errorf("you may not read TidbCluster %s, and its annotations decide whether its pods may have agents", c.Key.Name)
	}
	optIn := tidbcluster.ParseOptIn(c.Object.Annotations)
	if err := w.refuse(c, optIn); err != nil {
		return nil, err
	}
	p := &Plan{cluster: c.Key.String(), image: w.Config.Image, isKnown: w.IsKnown, longest: w.Longest, asked: w.Longest}
	if most := cmp.Or(optIn.MaxDuration, w.Config.MaxDuration); most > 0 {
		p.longest = min(p.longest, most)
	}
	member := tidbcluster.Membership{Cluster: c.Key, UID: c.Object.UID, OptIn: optIn}
	for _, pod := range c.Pods {
		member.Component = pod.Facts.Component
		if len(w.Components) == 0 || slices.Contains(w.Components, member.Component) {
			p.Steps = append(p.Steps, w.step(pod.Pod, member, p.longest))
		}
	}
	if len(p.Steps) == 0 {
		return nil, fmt.Errorf("the TidbCluster %s has no pods%s", c.Key.Name, ofComponents(w.Components))
	}
	return p, nil
}

// refuse returns why no pod can have an agent. Where it is not known whether agents are to ask
// for a token, that is told and no refusal: who may attach need not have the right to read the
// injector's settings, and could attach any other program that opens the port.
func (w Wish) refuse(c *look.Cluster, optIn tidbcluster.OptIn) error {
	reason, detail := injection.Facts{PodSecurity: w.PodSecurity}.Exclusion()
	switch {
	case tidbcluster.IsProtected(c.Object.Annotations):
		return fmt.Errorf("%w: TidbCluster %s takes no faults, by its annotation %s", ErrProtected, c.Key.Name, tidbcluster.ProtectAnnotation)
	case !c.Object.DeletionTimestamp.IsZero():
		return fmt.Errorf("the TidbCluster %s is being deleted", c.Key.Name)
	case !optIn.Inject:
		return fmt.Errorf("the TidbCluster %s does not ask for agents; have it do so, which restarts nothing and has later pods injected, by: kubectl annotate -n %s tidbcluster %s %s=true",
			c.Key.Name, c.Key.Namespace, c.Key.Name, tidbcluster.InjectAnnotation)
	case reason != "":
		return errors.New(detail)
	}
	secret := w.Config.TokenSecret
	for _, pod := range c.Pods {
		secret = cmp.Or(secret, injection.TokenSecretOf(pod.Pod))
	}
	if secret != "" {
		return fmt.Errorf("agents are to ask for the token in Secret %s (agent.tokenSecret), and no Secret can be mounted into a running pod: an attached agent would let everybody in; have the pods injected and restart them", secret)
	}
	return nil
}

// step decides what becomes of a pod.
func (w Wish) step(pod *corev1.Pod, member tidbcluster.Membership, longest time.Duration) Step {
	s := Step{Pod: pod, Component: member.Component}
	agent, has := container.Of(pod)
	if has && (agent.Kind != container.Attached || agent.Phase() != container.Down) {
		s.Outcome, s.Why = HasAgent, agent.Has()
		return s
	}
	decision := w.Config.Decide(pod, member, injection.Facts{})
	switch {
	case decision.Reason.Unwanted():
		s.Outcome, s.Why = Impossible, decision.Detail
	case decision.Reason != injection.Injected:
		s.Outcome, s.Why = LeftOut, decision.Detail
	case !pod.DeletionTimestamp.IsZero():
		s.Outcome, s.Why = Impossible, "the pod is being deleted"
	case pod.Status.Phase != corev1.PodRunning:
		s.Outcome, s.Why = Impossible, fmt.Sprintf("the pod does not run (%s)", cmp.Or(pod.Status.Phase, corev1.PodPending))
	default:
		s.Outcome, s.Container = Attach, w.Config.Attachment(pod, longest)
		if has {
			s.Why = agent.Container.Name + " " + agent.Words()
		}
		if lost := container.Lost(pod); lost != "" {
			s.Why = lost + "; what it left in force by netem is ended, or taken over"
		}
	}
	return s
}

// With returns the steps with an outcome.
func (p *Plan) With(o Outcome) []Step {
	return slices.DeleteFunc(slices.Clone(p.Steps), func(s Step) bool { return s.Outcome != o })
}
