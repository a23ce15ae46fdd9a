// Package explain says what the injector would do with a pod now, and why, by the injector's
// own code; and of a pod with an agent what that holds. It reads with the rights of the person
// who asks. What that person may not see is said.
package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/injection/gather"
	"github.com/tidelay/tidelay/pkg/injection/imagewatch"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/render"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
)

// Explanation is what is known of a pod.
type Explanation struct {
	Namespace string    `json:"namespace"`
	Pod       string    `json:"pod"`
	UID       types.UID `json:"uid"`
	// Decision is what the injector would do if the pod were created now, as it is.
	Decision Decision `json:"decision"`
	// Replacement is what it would do with a new pod in the place of one that has an agent.
	Replacement *Decision `json:"replacement,omitempty"`
	// Cluster and Component are empty if the pod is known of no TidbCluster.
	Cluster   string                `json:"cluster,omitempty"`
	Component tidbcluster.Component `json:"component,omitempty"`
	// Owners are the steps from the pod to its TidbCluster.
	Owners []Owner `json:"owners"`
	// Notes has a sentence for what else matters.
	Notes []string `json:"notes,omitempty"`
	// Settings says where the injector's settings are from, and Image is the agent's image,
	// "" if it is not known.
	Settings string `json:"settings"`
	Image    string `json:"image,omitempty"`
	// Agent is nil for a pod without one.
	Agent *Agent `json:"agent,omitempty"`
	// Unseen has a sentence for what the person who asks may not see.
	Unseen []string `json:"unseen,omitempty"`
}

// Decision is what the injector would do, and why.
type Decision struct {
	// Reason is empty if it is not known.
	Reason injection.Reason `json:"reason"`
	// Detail says in a sentence what led to it, or why it is not known.
	Detail string `json:"detail"`
	// Problems has a sentence for each annotation that is not valid.
	Problems []string `json:"problems,omitempty"`
}

// Owner is a step of the way from a pod to its TidbCluster.
type Owner struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	// UID is that of the reference, and FoundUID that of the object that is there; "" if none
	// is, or if it was not read.
	UID      types.UID       `json:"uid"`
	FoundUID types.UID       `json:"foundUID,omitempty"`
	Finding  resolve.Finding `json:"finding"`
	// Error is why it could not be read.
	Error string `json:"error,omitempty"`
}

// Options are what an explanation needs.
type Options struct {
	// Reader reads from the API server, without a cache.
	Reader client.Reader
	// Agents asks the agents of pods.
	Agents agents.Asker
	// TidelayNamespace is where the injector is installed.
	TidelayNamespace string
	// Version is that of this program.
	Version string
}

// Explain explains a pod, which must be as the API server has it. The error is that the API
// server can't be asked.
func Explain(ctx context.Context, o Options, pod *corev1.Pod) (*Explanation, error) {
	e := &Explanation{Namespace: pod.Namespace, Pod: pod.Name, UID: pod.UID, Owners: []Owner{}}
	injector, err := look.ReadInjector(ctx, o.Reader, o.TidelayNamespace, o.Version)
	if err != nil {
		return nil, err
	}
	e.Settings, e.Image, e.Unseen = injector.Source, injector.Config.Image, injector.Unseen
	gatherer, walk, err := e.gatherer(ctx, o.Reader, pod.Namespace, injector.Config)
	if err != nil {
		return nil, err
	}
	member, decision, err := gatherer.Decide(ctx, pod.Namespace, pod)
	e.Decision, e.Owners = e.decision(decision, err), append(e.Owners, walk.owners...)
	if member.UID != "" {
		e.Cluster, e.Component = member.Cluster.Name, member.Component
	}
	if injection.HasAgent(pod) {
		if err := e.replace(ctx, gatherer, pod); err != nil {
			return nil, err
		}
	}
	if err := e.note(ctx, o.Reader, pod, member); err != nil {
		return nil, err
	}
	e.Agent = readAgent(ctx, o.Agents, pod)
	return e, nil
}

// gatherer returns what decides as the injector does, and who notes the owners that it looks
// at.
func (e *Explanation) gatherer(ctx context.Context, live client.Reader, namespace string, config injection.Config) (*gather.Gatherer, *walk, error) {
	reader, err := confirm.NewReader(uncached{live}, live, rate.NewLimiter(rate.Inf, 0), prometheus.NewRegistry())
	if err != nil {
		return nil, nil, fmt.Errorf("prepare reading owners: %w", err)
	}
	images, err := e.images(ctx, live, namespace, config)
	if err != nil {
		return nil, nil, err
	}
	w := &walk{Resolver: resolve.NewResolver(reader)}
	return &gather.Gatherer{
		Config: func() injection.Config { return config }, Resolver: w, Namespaces: gather.NewNamespaces(reader), Images: images,
	}, w, nil
}

// images looks which images of the agent can't be pulled: in all namespaces, as the injector
// does, or else in that of the pod.
func (e *Explanation) images(ctx context.Context, live client.Reader, namespace string, config injection.Config) (*imagewatch.Watcher, error) {
	try := func(reader client.Reader) (*imagewatch.Watcher, error) {
		w, err := imagewatch.New(imagewatch.Options{
			Config: func() injection.Config { return config }, Pods: reader, Metrics: prometheus.NewRegistry(), Log: logr.Discard(),
		})
		if err != nil {
			return nil, fmt.Errorf("prepare looking for images: %w", err)
		}
		if config.Image == "" {
			return w, nil
		}
		return w, w.Look(ctx)
	}
	w, err := try(live)
	if apierrors.IsForbidden(err) {
		e.Unseen = append(e.Unseen, "you may not list pods in all namespaces, so whether the agent's image can be pulled is known of this namespace only")
		w, err = try(within{live, namespace})
	}
	if apierrors.IsForbidden(err) {
		e.Unseen = append(e.Unseen, "you may not list pods, so it is not known whether the agent's image can be pulled")
		return w, nil
	}
	return w, err
}

// decision says what the injector would do. A read that failed for this person need not fail
// for the injector, so that settles nothing.
func (e *Explanation) decision(d injection.Decision, err error) Decision {
	if err != nil {
		return Decision{Detail: words(err)}
	}
	return Decision{Reason: d.Reason, Detail: d.Detail, Problems: d.Problems}
}

// replace decides about a pod in the place of one that has an agent.
func (e *Explanation) replace(ctx context.Context, gatherer *gather.Gatherer, pod *corev1.Pod) error {
	bare, err := withoutAgent(pod)
	if err != nil {
		return err
	}
	_, decision, err := gatherer.Decide(ctx, pod.Namespace, bare)
	if again := e.decision(decision, err); again.Reason != e.Decision.Reason {
		e.Replacement = &again
	}
	return nil
}

// withoutAgent returns a pod as it was before the injector saw it.
func withoutAgent(pod *corev1.Pod) (*corev1.Pod, error) {
	content, err := json.Marshal(pod)
	if err == nil {
		content, err = render.Apply(content, injection.Removal(pod))
	}
	bare := &corev1.Pod{}
	if err == nil {
		err = json.Unmarshal(content, bare)
	}
	if err != nil {
		return nil, fmt.Errorf("take agent out of pod %s: %w", pod.Name, err)
	}
	return bare, nil
}

// words returns the API server's answer in an error, if there is one, and what was asked.
func words(err error) string {
	if status, is := errors.AsType[*apierrors.StatusError](err); is && apierrors.IsForbidden(status) {
		return "you may not read that: " + err.Error()
	}
	return err.Error()
}
