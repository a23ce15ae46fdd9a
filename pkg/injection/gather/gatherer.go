// Package gather reads the facts about a pod and has package injection decide on
// them. The injector does so for a pod under admission, and the controller for a
// running one, so that both come to the same decision.
package gather

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// resolver finds the TidbCluster of a pod, and the version of the TiDB Operator
// that runs it. It is a resolve.Resolver.
type resolver interface {
	Resolve(ctx context.Context, namespace string, pod *corev1.Pod) (tidbcluster.Membership, error)
	OperatorVersion(ctx context.Context, cluster types.NamespacedName) (string, error)
}

// namespaces reads the Pod Security level that a namespace enforces. It is a
// Namespaces.
type namespaces interface {
	EnforcedLevel(ctx context.Context, namespace string) (string, error)
}

// images knows whether the agent's image can be pulled. It is an
// imagewatch.Watcher.
type images interface {
	Problem(namespace string, config injection.Config) injection.ImageProblem
}

// Gatherer gathers facts about pods. All fields are required. It is safe for
// concurrent use if its fields are.
type Gatherer struct {
	// Config returns the settings of agents, which must be valid. It is called for
	// each pod.
	Config     func() injection.Config
	Resolver   resolver
	Namespaces namespaces
	Images     images
}

// Decide returns what happens to a pod if it is created now. The namespace is an
// argument because a pod under admission may not have it yet.
//
// There is always a decision. The error is the cause of the reason LookupFailed and
// nil for every other reason.
func (g *Gatherer) Decide(ctx context.Context, namespace string, pod *corev1.Pod) (tidbcluster.Membership, injection.Decision, error) {
	member, facts, skipped, err := g.gather(ctx, namespace, pod)
	if skipped != nil {
		return member, *skipped, err
	}
	if member.OptIn.Native && member.OptIn.Covers(member.Component) {
		facts.Operator, facts.OperatorErr = g.Resolver.OperatorVersion(ctx, member.Cluster)
	}
	return member, g.decide(namespace, pod, member, facts), nil
}

// Reason returns the reason of the decision that Decide would return, and the same
// error. It reads less: the operator's version changes how a pod is injected, and
// never whether it is.
func (g *Gatherer) Reason(ctx context.Context, namespace string, pod *corev1.Pod) (tidbcluster.Membership, injection.Reason, error) {
	member, facts, skipped, err := g.gather(ctx, namespace, pod)
	if skipped != nil {
		return member, skipped.Reason, err
	}
	return member, g.decide(namespace, pod, member, facts).Reason, nil
}

// Exclusion returns why no pod of a namespace would be injected if it were created now,
// whatever it is like, and what led to it. The reason is "" if nothing is known that
// keeps all of them out. What led to it is told in the same words for as long as it
// lasts: kubelet's words about an image change with each try, and name somebody's pod.
func (g *Gatherer) Exclusion(ctx context.Context, namespace string) (injection.Reason, string, error) {
	level, err := g.Namespaces.EnforcedLevel(ctx, namespace)
	if err != nil {
		return "", "", err
	}
	config, facts := g.Config(), injection.Facts{PodSecurity: level}
	if image := g.Images.Problem(namespace, config).Image; image != "" {
		facts.ImageProblem = fmt.Sprintf("the agent's image %s can't be pulled on some pod, which the injector's log names", image)
	}
	reason, detail := facts.Exclusion()
	return reason, detail, nil
}

// decide decides by the configuration of this moment.
func (g *Gatherer) decide(namespace string, pod *corev1.Pod, member tidbcluster.Membership, facts injection.Facts) injection.Decision {
	config := g.Config()
	facts.ImageProblem = g.Images.Problem(namespace, config).Detail
	return config.Decide(pod, member, facts)
}

// gather reads the membership of a pod, and the facts on which the reason of its
// decision depends. If what it reads, or fails to read, settles the decision
// already, it returns that as skipped.
func (g *Gatherer) gather(ctx context.Context, namespace string, pod *corev1.Pod) (member tidbcluster.Membership, facts injection.Facts, skipped *injection.Decision, err error) {
	member, err = g.Resolver.Resolve(ctx, namespace, pod)
	switch {
	case errors.Is(err, tidbcluster.ErrNotMember):
		return member, facts, &injection.Decision{Reason: injection.NotMember, Detail: err.Error()}, nil
	case errors.Is(err, tidbcluster.ErrStaleOwner):
		return member, facts, &injection.Decision{Reason: injection.StaleOwner, Detail: err.Error()}, nil
	case err == nil && member.OptIn.Covers(member.Component):
		facts.PodSecurity, err = g.Namespaces.EnforcedLevel(ctx, namespace)
	}
	if err != nil {
		return member, facts, &injection.Decision{Reason: injection.LookupFailed, Detail: err.Error()}, err
	}
	return member, facts, nil, nil
}
