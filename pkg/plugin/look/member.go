package look

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/networkfault/facts"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
)

// resolve finds the pods of the TidbCluster among those that were read, by their owners, as
// the controller does.
func (r *reading) resolve(ctx context.Context) error {
	once := &remembering{Reader: r.Reader, answers: map[question]answer{}}
	reader, err := confirm.NewReader(once, once, rate.NewLimiter(rate.Inf, 0), prometheus.NewRegistry())
	if err != nil {
		return fmt.Errorf("prepare reading owners: %w", err)
	}
	resolver := resolve.NewResolver(reader)
	for i := range r.pods.Items {
		pod := &r.pods.Items[i]
		if resolve.ClusterName(pod) != r.cluster.Key.Name || facts.HasEnded(pod) {
			continue
		}
		component, isMember, err := r.member(ctx, resolver, pod)
		if err != nil {
			return err
		}
		if isMember {
			r.cluster.Pods = append(r.cluster.Pods, Pod{pod, facts.Pod(pod, component, r.labels[pod.Spec.NodeName])})
		}
	}
	slices.SortFunc(r.cluster.Pods, func(a, b Pod) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

// member returns the component of a pod whose name says that it is of the TidbCluster. Where
// its owners may not be read, its name and label are believed.
func (r *reading) member(ctx context.Context, resolver *resolve.Resolver, pod *corev1.Pod) (tidbcluster.Component, bool, error) {
	if r.cluster.Object != nil {
		found, err := resolver.Resolve(ctx, pod.Namespace, pod)
		switch {
		case err == nil:
			return found.Component, found.UID == r.cluster.Object.UID, nil
		case errors.Is(err, tidbcluster.ErrNotMember) || errors.Is(err, tidbcluster.ErrStaleOwner):
			return "", false, nil
		}
		if err := r.unseen(cause(err), "the owners of pods", "which pods are of the TidbCluster; that goes by their names"); err != nil {
			return "", false, fmt.Errorf("resolve pod %s: %w", pod.Name, err)
		}
	}
	component, err := tidbcluster.ParseComponent(pod.Labels[tidbcluster.ComponentLabel])
	return component, err == nil, nil
}

// cause returns the API server's answer in an error, if there is one.
func cause(err error) error {
	if status, is := errors.AsType[*apierrors.StatusError](err); is {
		return status
	}
	return err
}

// remembering asks each question once.
type remembering struct {
	client.Reader
	answers map[question]answer
}

type question struct {
	kind string
	key  client.ObjectKey
}

type answer struct {
	object client.Object
	err    error
}

// Get reads an object, or gives the answer that was given before.
func (r *remembering) Get(ctx context.Context, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
	q := question{object.GetObjectKind().GroupVersionKind().String(), key}
	known, is := r.answers[q]
	if !is {
		known = answer{object.DeepCopyObject().(client.Object), nil}
		known.err = r.Reader.Get(ctx, key, known.object, opts...)
		r.answers[q] = known
	}
	if known.err == nil {
		reflect.ValueOf(object).Elem().Set(reflect.ValueOf(known.object.DeepCopyObject()).Elem())
	}
	return known.err
}
