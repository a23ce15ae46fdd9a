// Package imagewatch sees that the agent's image can't be pulled, so that no further
// pod is injected with it (injection.ImageUnavailable). As a container such an agent
// keeps its pod from being ready, and as a native sidecar the database from starting.
//
// It lists the pods of TiDB Operator that are pending and looks at what kubelet says
// of their agents. An image that fails on one pod, anywhere in the cluster, counts as
// one that can't be pulled until the last such pod has it, or until ten minutes after
// the last such pod was seen. Where another webhook has put another image in place of the
// agent's, that counts in the namespace of the pod only. A pod whose agent ran before is not pending any more and
// is not seen.
package imagewatch

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// jitter is the part of the interval by which the time between two lists varies, so
// that replicas do not list at once.
const jitter = 0.2

// lookTimeout bounds one look, so that an API server that hangs ends no later ones.
const lookTimeout = 10 * time.Second

// Options has the parts of a Watcher. All fields are required.
type Options struct {
	// Config returns the settings of agents. Its image stays the same.
	Config func() injection.Config
	// Pods lists pods from the API server, without a cache.
	Pods client.Reader
	// Interval is the time between two lists.
	Interval time.Duration
	// Metrics is where the gauge is registered.
	Metrics prometheus.Registerer
	// Log receives changes, and what could not be read.
	Log logr.Logger
}

// Watcher knows whether the agent's image can be pulled.
type Watcher struct {
	options Options
	now     func() time.Time
	known   atomic.Pointer[records]
	// reported has the problems that were logged last, by namespace, "" for all.
	reported map[string]bool
	// unread is the error that was logged last, "" for none.
	unread string
}

// New returns a Watcher that knows of no failure. It fails if its metric can't be
// registered.
func New(o Options) (*Watcher, error) {
	w := &Watcher{options: o, now: time.Now, reported: map[string]bool{}}
	w.known.Store(&records{})
	gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tidelay_image_unavailable",
		Help: "1 while the agent's image is known not to be pulled on some pod, so that no pod is injected, else 0.",
	}, func() float64 {
		if w.Problem("", o.Config()) != (injection.ImageProblem{}) {
			return 1
		}
		return 0
	})
	if err := o.Metrics.Register(gauge); err != nil {
		return nil, fmt.Errorf("register tidelay_image_unavailable: %w", err)
	}
	return w, nil
}

// Problem returns the image of the agent that can't be pulled by a pod of a namespace that
// is injected as config says, or zero if that is not known of any. Namespace "" is for
// what is so everywhere. It does not block and is safe for concurrent use.
func (w *Watcher) Problem(namespace string, config injection.Config) injection.ImageProblem {
	return w.known.Load().problem(namespace, pullOf(config), w.now())
}

// NeedLeaderElection is false, because every replica decides by what it knows.
func (w *Watcher) NeedLeaderElection() bool { return false }

// Start looks for failures until ctx ends.
func (w *Watcher) Start(ctx context.Context) error {
	wait.JitterUntilWithContext(ctx, w.look, w.options.Interval, jitter, true)
	return nil
}

// look looks for failures once, and logs what has changed.
func (w *Watcher) look(ctx context.Context) {
	err := w.Look(ctx)
	if ctx.Err() != nil {
		return
	}
	switch {
	case err == nil:
		w.unread = ""
	case err.Error() != w.unread:
		w.unread = err.Error()
		w.options.Log.Error(err, "pods that wait for the agent's image not read")
	}
	w.report(w.options.Config())
}

// Look looks for failures once, for a program that does not Start. What can't be read
// leaves what is known as it is, and is the error.
func (w *Watcher) Look(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	found, err := w.read(limited, pullOf(w.options.Config()))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	w.known.Store(&found)
	return err
}

// report logs what has changed. The namespace is empty for what is so everywhere.
func (w *Watcher) report(config injection.Config) {
	now := map[string]bool{}
	for namespace, r := range *w.known.Load() {
		problem := r.problem(pullOf(config), w.now())
		if problem == (injection.ImageProblem{}) {
			continue
		}
		if now[namespace] = true; !w.reported[namespace] {
			w.options.Log.Info("pods are no longer injected", "because", problem.Detail, "namespace", namespace)
		}
	}
	for namespace := range w.reported {
		if !now[namespace] {
			w.options.Log.Info("pods are injected again", "image", config.Image, "namespace", namespace)
		}
	}
	w.reported = now
}

// read returns what is known of the next pull after another look at the pods. With an
// error it is what was known before of what could not be read.
func (w *Watcher) read(ctx context.Context, next pull) (records, error) {
	known := *w.known.Load()
	// Version 0 is what the API server has in its cache, which costs it little.
	var pending corev1.PodList
	err := w.options.Pods.List(ctx, &pending, client.MatchingLabels(tidbcluster.OperatorLabels()),
		client.MatchingFields{"status.phase": string(corev1.PodPending)}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: "0"}})
	if err != nil {
		return known, fmt.Errorf("list pending pods: %w", err)
	}
	found := records{}
	for _, f := range failures(pending.Items, next) {
		r := found[f.namespace]
		if r.pull, r.seen = next, w.now(); len(r.failures) < maxFailures {
			r.failures = append(r.failures, f)
		}
		found[f.namespace] = r
	}
	var errs []error
	for namespace, r := range known {
		if len(found[namespace].failures) > 0 || r.problem(next, w.now()) == (injection.ImageProblem{}) {
			continue
		}
		pulled, err := w.anyPulled(ctx, r.failures)
		if !pulled {
			found[namespace] = r
		}
		errs = append(errs, err)
	}
	return found, errors.Join(errs...)
}

// anyPulled reports whether one of the pods that failed has its image now.
func (w *Watcher) anyPulled(ctx context.Context, failures []failure) (bool, error) {
	for _, f := range failures {
		if pulled, err := w.pulled(ctx, f); pulled || err != nil {
			return pulled, err
		}
	}
	return false, nil
}

// pulled reports whether a pod that failed has its image now. It is listed and not
// read by name, which would take another permission.
func (w *Watcher) pulled(ctx context.Context, f failure) (bool, error) {
	var pods corev1.PodList
	if err := w.options.Pods.List(ctx, &pods, client.InNamespace(f.pod.Namespace), client.MatchingFields{"metadata.name": f.pod.Name}); err != nil {
		return false, fmt.Errorf("list pod %s: %w", f.pod, err)
	}
	for i := range pods.Items {
		if pods.Items[i].UID == f.uid && hasImage(&pods.Items[i]) {
			return true, nil
		}
	}
	return false, nil
}
