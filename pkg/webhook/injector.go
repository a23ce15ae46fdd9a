package webhook

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// gatherer gathers the facts about a pod and decides. It is a gather.Gatherer.
type gatherer interface {
	Decide(ctx context.Context, namespace string, pod *corev1.Pod) (tidbcluster.Membership, injection.Decision, error)
}

// Options has the parts of an Injector. All fields are required.
type Options struct {
	// Decoder decodes pods.
	Decoder admission.Decoder
	// Gatherer decides about each pod.
	Gatherer gatherer
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

// Handle answers one admission. It always allows it, and changes the pod only if the
// reason is Injected.
func (i *Injector) Handle(ctx context.Context, req admission.Request) (response admission.Response) {
	start := time.Now()
	defer func() { i.metrics.duration.Observe(time.Since(start).Seconds()) }()
	// controller-runtime answers a panic with an error, and the API server would
	// refuse the pod.
	defer func() {
		if p := recover(); p != nil {
			logf.FromContext(ctx).Error(fmt.Errorf("panic: %v", p), "admission panicked", "stack", string(debug.Stack()))
			response = i.answer(tidbcluster.Membership{}, injection.Decision{Reason: injection.InternalError, Detail: "the injector panicked; see its log"})
		}
	}()

	pod := &corev1.Pod{}
	member, decision, err := i.decide(ctx, req, pod)
	i.log(ctx, pod, member, decision, err)
	// A dry run must have no side effect. After the deadline the API server no
	// longer waits for the answer, and admits the pod as it is.
	dryRun := req.DryRun != nil && *req.DryRun
	if ctx.Err() == nil && !dryRun {
		i.sendEvent(req.Namespace, pod, member, decision)
	}
	return i.answer(member, decision)
}

// decide decodes the pod and decides about it. The error is the cause of a reason
// that comes from a failure. It is only logged.
func (i *Injector) decide(ctx context.Context, req admission.Request, pod *corev1.Pod) (tidbcluster.Membership, injection.Decision, error) {
	if err := i.options.Decoder.Decode(req, pod); err != nil {
		return tidbcluster.Membership{}, injection.Decision{Reason: injection.InternalError, Detail: "the pod cannot be decoded"}, err
	}
	return i.options.Gatherer.Decide(ctx, req.Namespace, pod)
}

// answer counts the decision and turns it into an admission response.
func (i *Injector) answer(member tidbcluster.Membership, d injection.Decision) admission.Response {
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

// log logs the decision: at info level if the pod is changed or should have been, at
// debug level otherwise.
func (i *Injector) log(ctx context.Context, pod *corev1.Pod, member tidbcluster.Membership, d injection.Decision, err error) {
	log := logf.FromContext(ctx).WithValues("pod", podName(pod), "reason", d.Reason, "detail", d.Detail)
	if member.UID != "" {
		log = log.WithValues("cluster", member.Cluster.String(), "component", member.Component)
	}
	switch {
	case err != nil:
		log.Error(err, "pod admitted without the agent")
	case d.Reason == injection.Injected:
		log.Info("pod injected")
	case d.Reason.Unwanted():
		log.Info("pod skipped")
	default:
		log.V(1).Info("pod skipped")
	}
}
