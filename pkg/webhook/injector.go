package webhook

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// lookTimeout bounds how long an admission looks whether its pod was made before. It
// is well below the deadline of an admission.
const lookTimeout = 500 * time.Millisecond

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
	// Pods reads pods from the API server, not from a cache. Limit bounds how often
	// admissions do so; it may be shared with other reads of theirs.
	Pods  client.Reader
	Limit *rate.Limiter
	// Events receives the Events for TidbClusters.
	Events events.EventRecorder
	// Metrics is where the Injector's metrics are registered.
	Metrics prometheus.Registerer
}

// Injector answers the admission of pods. It has to be started (Start), so that it
// hears what becomes of them.
type Injector struct {
	options  Options
	metrics  *metrics
	refusals *refusals
	// lookups reads pods during an admission.
	lookups pods
	// afterwards reads them for follow-ups.
	afterwards pods
	followUps  chan followUp
}

// New returns an Injector. It fails if the metrics cannot be registered.
func New(o Options) (*Injector, error) {
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, err
	}
	return &Injector{
		options: o, metrics: m, refusals: newRefusals(), followUps: make(chan followUp, maxFollowUps),
		lookups:    pods{live: o.Pods, limit: o.Limit},
		afterwards: pods{live: o.Pods, limit: rate.NewLimiter(followUpReads, 2*followUpReads), timeout: followUpTimeout},
	}, nil
}

// Handle answers one admission. It always allows it, and changes the pod only if the
// reason is Injected or Refused, or HostNetwork for one that has the agent already.
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
	// A dry run must have no side effect, and asks for no pod. After the deadline the
	// API server no longer waits for the answer, and admits the pod as it is.
	effective := ctx.Err() == nil && (req.DryRun == nil || !*req.DryRun)
	if effective && decision.Reason == injection.Injected {
		decision = i.injectOrRefuse(ctx, req, pod, member, decision)
	}
	i.log(ctx, pod, member, decision, err)
	if effective && decision.Reason != injection.Injected { // that one is sent when the pod is made
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

// injectOrRefuse returns d, which is to inject pod, or the decision Refused if the API
// server has not made the pod with the agent when it was asked for before. It notes
// the answer, and has it followed, once in an admission.
func (i *Injector) injectOrRefuse(ctx context.Context, req admission.Request, pod *corev1.Pod, member tidbcluster.Membership, d injection.Decision) injection.Decision {
	id := identify(req.Namespace, pod, d)
	next, admissions := i.refusals.next(id, types.UID(pod.Annotations[injection.AdmissionAnnotation]))
	if next == stepLook {
		next = i.lookUp(ctx, id, admissions)
	}
	switch next {
	case stepRefuse, stepLeave:
		d = d.Refused(pod, refusedDetail(pod))
		i.refusals.refused(id, req.UID)
	case stepRepeat:
		d = d.Refused(pod, refusedDetail(pod))
		d.Patch = nil
		return d
	default:
		i.refusals.injected(id, req.UID)
	}
	i.followLater(followUp{pod: id, admission: req.UID, member: member, decision: d})
	if next == stepLeave {
		i.refusals.leave(id)
		d.Patch = nil
		return d
	}
	return d.Marked(req.UID)
}

// lookUp returns how to answer after a look whether the pod was made of one of the
// admissions before.
func (i *Injector) lookUp(ctx context.Context, id identity, admissions []types.UID) step {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	pod, found, err := i.lookups.find(ctx, id, admissions...)
	switch {
	case err != nil:
		logf.FromContext(ctx).Error(err, "not known whether the pod was made when it was asked for before")
		return i.refusals.nextUnknown(id)
	case found:
		i.refusals.made(id, injection.IsInjected(pod))
		next, _ := i.refusals.next(id, "")
		return next
	default:
		return i.refusals.nextUnmade(id)
	}
}

// refusedDetail says in a sentence why pod goes without the agent, and where to read
// more.
func refusedDetail(pod *corev1.Pod) string {
	owner := "its controller"
	if ref := metav1.GetControllerOfNoCopy(pod); ref != nil {
		owner = ref.Kind + " " + ref.Name
	}
	return "the API server did not make it with the agent when it was asked for again and again; this request is answered without. The Events FailedCreate of " + owner + " say what refuses it"
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
