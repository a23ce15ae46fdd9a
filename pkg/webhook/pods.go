package webhook

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/time/rate"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// pods reads from the API server which pods were made.
type pods struct {
	live  client.Reader
	limit *rate.Limiter
	// timeout bounds a read, and not the wait for its turn. 0 is for no bound.
	timeout time.Duration
}

// find returns the pod that was made of one of the admissions. If the pods of this
// identity have a name, any pod of that name is returned, because there can be only
// one. found is false if there is none.
func (p pods) find(ctx context.Context, id identity, admissions ...types.UID) (pod *corev1.Pod, found bool, err error) {
	if err := p.limit.Wait(ctx); err != nil {
		return nil, false, fmt.Errorf("wait to read pods: %w", err)
	}
	if p.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.timeout)
		defer cancel()
	}
	if id.generated {
		return p.findGenerated(ctx, id, admissions)
	}
	pod = &corev1.Pod{}
	switch err := p.live.Get(ctx, client.ObjectKey{Namespace: id.namespace, Name: id.name}, pod); {
	case apierrors.IsNotFound(err):
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("read pod %s/%s: %w", id.namespace, id.name, err)
	default:
		return pod, true, nil
	}
}

// findGenerated is find for pods whose names the API server makes up.
func (p pods) findGenerated(ctx context.Context, id identity, admissions []types.UID) (*corev1.Pod, bool, error) {
	var list corev1.PodList
	// Only a ReplicaSet has the API server make up names, so the revision is its own
	// label. Without it all pods of a large namespace would be read each time.
	selector := client.MatchingLabels(tidbcluster.OperatorLabels())
	if id.revision != "" {
		selector[appsv1.DefaultDeploymentUniqueLabelKey] = id.revision
	}
	if err := p.live.List(ctx, &list, client.InNamespace(id.namespace), selector); err != nil {
		return nil, false, fmt.Errorf("list pods of %s: %w", id.namespace, err)
	}
	for i := range list.Items {
		pod := &list.Items[i]
		owner := metav1.GetControllerOfNoCopy(pod)
		if owner != nil && owner.UID == id.owner && isOf(pod, admissions...) {
			return pod, true, nil
		}
	}
	return nil, false, nil
}

// isOf reports whether pod was made of one of the admissions.
func isOf(pod *corev1.Pod, admissions ...types.UID) bool {
	admission, ok := pod.Annotations[injection.AdmissionAnnotation]
	return ok && slices.Contains(admissions, types.UID(admission))
}
