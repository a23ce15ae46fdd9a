package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// resolver tells which TidbCluster a pod belongs to, and which TiDB Operator
// runs that; see tidbcluster.Resolver.
type resolver interface {
	Resolve(ctx context.Context, namespace string, pod *corev1.Pod) (tidbcluster.Membership, error)
	OperatorVersion(ctx context.Context, cluster types.NamespacedName) (string, error)
}

// namespaces tells the Pod Security level a namespace enforces; see Namespaces.
type namespaces interface {
	EnforcedLevel(ctx context.Context, namespace string) (string, error)
}

// Options is what an Injector is made of. All fields are required.
type Options struct {
	// Config returns what to inject, which is valid. It is called for each pod.
	Config func() Config
	// Decoder knows pods.
	Decoder admission.Decoder
	// Resolver is usually a tidbcluster.Resolver.
	Resolver resolver
	// Namespaces is usually a Namespaces.
	Namespaces namespaces
	// Events receives the Events for TidbClusters.
	Events events.EventRecorder
	// Metrics is where the Injector's metrics are registered.
	Metrics prometheus.Registerer
}

// Injector answers the admission of pods.
type Injector struct {
	options Options
	metrics *metrics
}

// New returns an Injector. It fails if the metrics cannot be registered.
func New(o Options) (*Injector, error) {
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, err
	}
	return &Injector{options: o, metrics: m}, nil
}

// Handle answers one admission. It always allows it, and changes the pod only
// if the reason is Injected.
func (i *Injector) Handle(ctx context.Context, req admission.Request) (response admission.Response) {
	start := time.Now()
	defer func() { i.metrics.duration.Observe(time.Since(start).Seconds()) }()
	// The last resort of failing open: what panics here would be answered with
	// an error, and the pod refused.
	defer func() {
		if p := recover(); p != nil {
			logf.FromContext(ctx).Error(fmt.Errorf("panic: %v", p), "admission panicked", "stack", string(debug.Stack()))
			response = i.answer(tidbcluster.Membership{}, Decision{Reason: InternalError, Detail: "the injector panicked; see its log"})
		}
	}()

	pod := &corev1.Pod{}
	member, decision, err := i.decide(ctx, req, pod)
	i.log(ctx, pod, member, decision, err)
	// A dry run has no side effect, and neither has an answer that comes too
	// late to be heard.
	dryRun := req.DryRun != nil && *req.DryRun
	if ctx.Err() == nil && !dryRun {
		i.tell(req.Namespace, pod, member, decision)
	}
	return i.answer(member, decision)
}

// decide gathers the facts and judges them. The error is the cause of a reason
// that comes from a failure; it is for the log only.
func (i *Injector) decide(ctx context.Context, req admission.Request, pod *corev1.Pod) (tidbcluster.Membership, Decision, error) {
	if err := i.options.Decoder.Decode(req, pod); err != nil {
		return tidbcluster.Membership{}, Decision{Reason: InternalError, Detail: "the pod cannot be decoded"}, err
	}
	member, err := i.options.Resolver.Resolve(ctx, req.Namespace, pod)
	switch {
	case errors.Is(err, tidbcluster.ErrNotMember):
		return member, Decision{Reason: NotMember, Detail: err.Error()}, nil
	case errors.Is(err, tidbcluster.ErrStaleOwner):
		return member, Decision{Reason: StaleOwner, Detail: err.Error()}, nil
	case err != nil:
		return member, Decision{Reason: LookupFailed, Detail: err.Error()}, err
	}
	facts, err := i.gather(ctx, req.Namespace, member)
	if err != nil {
		return member, Decision{Reason: LookupFailed, Detail: err.Error()}, err
	}
	return member, i.options.Config().Decide(pod, member, facts), nil
}

// gather reads what the decision about a member needs beside it.
func (i *Injector) gather(ctx context.Context, namespace string, member tidbcluster.Membership) (facts Facts, err error) {
	if !member.OptIn.Covers(member.Component) {
		return facts, nil
	}
	if facts.PodSecurity, err = i.options.Namespaces.EnforcedLevel(ctx, namespace); err != nil {
		return facts, err
	}
	if member.OptIn.Native {
		facts.Operator, facts.OperatorErr = i.options.Resolver.OperatorVersion(ctx, member.Cluster)
	}
	return facts, nil
}

// answer counts the decision and makes it an admission response.
func (i *Injector) answer(member tidbcluster.Membership, d Decision) admission.Response {
	i.metrics.decisions.WithLabelValues(string(d.Reason), string(member.Component)).Inc()
	audit := map[string]string{"reason": string(d.Reason)}
	if member.UID != "" {
		audit["cluster"] = member.Cluster.String()
		audit["component"] = string(member.Component)
	}
	return admission.Response{
		Patches: d.Patch,
		AdmissionResponse: admissionv1.AdmissionResponse{
			Allowed:          true,
			Result:           &metav1.Status{Code: http.StatusOK, Message: string(d.Reason)},
			AuditAnnotations: audit,
			Warnings:         warnings(d),
		},
	}
}

// log writes down what changes a pod or is worth a look. That other pods are
// left alone is seen at debug level only.
func (i *Injector) log(ctx context.Context, pod *corev1.Pod, member tidbcluster.Membership, d Decision, err error) {
	log := logf.FromContext(ctx).WithValues("pod", podName(pod), "reason", d.Reason, "detail", d.Detail)
	if member.UID != "" {
		log = log.WithValues("cluster", member.Cluster.String(), "component", member.Component)
	}
	switch {
	case err != nil:
		log.Error(err, "pod admitted without the agent")
	case d.Reason == Injected:
		log.Info("pod injected")
	case d.Reason.Unwanted():
		log.Info("pod skipped")
	default:
		log.V(1).Info("pod skipped")
	}
}
