package resolve

import (
	"context"
	"fmt"
	"strings"

	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Resolver finds the TidbCluster of a pod.
type Resolver struct {
	reader *confirm.Reader
}

// NewResolver returns a Resolver that reads owners from reader.
func NewResolver(reader *confirm.Reader) *Resolver {
	return &Resolver{reader: reader}
}

// Resolve returns the membership of a pod. The namespace is an argument because a
// pod under admission may not have it yet.
//
// Resolve never answers "no" from the cache alone. It reads from the API server
// when an owner is missing or has another UID, and when the TidbCluster is not
// opted in or leaves the component out, unless it has done so a moment ago (see
// confirm.Read).
//
// The error is tidbcluster.ErrNotMember, tidbcluster.ErrStaleOwner, or says which
// read failed.
func (r *Resolver) Resolve(ctx context.Context, namespace string, pod *corev1.Pod) (tidbcluster.Membership, error) {
	return r.Walk(ctx, namespace, pod, func(Hop) {})
}

// Walk is Resolve that tells visit of each owner on the way, from the pod's own on. The
// last one of them settles the answer, unless there is no owner where one is wanted.
func (r *Resolver) Walk(ctx context.Context, namespace string, pod *corev1.Pod, visit func(Hop)) (tidbcluster.Membership, error) {
	var (
		child     metav1.Object = pod
		childKind               = podKind()
	)
	for {
		ref, ownerKind, ok := controller(childKind, child)
		if !ok {
			if ref.Name != "" {
				visit(Hop{Owner: ref, Finding: Foreign})
			}
			return tidbcluster.Membership{}, notMember(childKind, child.GetName(), ref)
		}
		key := types.NamespacedName{Namespace: namespace, Name: ref.Name}
		if ownerKind == tidbClusterKind() {
			return r.membership(ctx, pod, ref, key, child.GetName(), visit)
		}
		owner, err := confirm.Read(ctx, r.reader, confirm.Query[*metav1.PartialObjectMetadata]{
			Empty: metadataOf(ownerKind), Key: key, UID: ref.UID, Trim: Trim,
		})
		visit(hopTo(ref, owner, err))
		if err := checkOwner(ownerKind, key, ref.UID, owner, err); err != nil {
			return tidbcluster.Membership{}, err
		}
		child, childKind = owner, ownerKind
	}
}

// membership reads the TidbCluster that controls workload, and returns what pod is
// in it. The workload names the TidbCluster by ref, and key is its name in the namespace.
func (r *Resolver) membership(ctx context.Context, pod *corev1.Pod, ref metav1.OwnerReference, key types.NamespacedName, workload string, visit func(Hop)) (tidbcluster.Membership, error) {
	component, err := ComponentOf(pod, key.Name, workload)
	if err != nil {
		visit(Hop{Owner: ref, Finding: Foreign})
		return tidbcluster.Membership{}, err
	}
	cluster, err := confirm.Read(ctx, r.reader, confirm.Query[*v1alpha1.TidbCluster]{
		Empty: emptyTidbCluster(), Key: key, UID: ref.UID, Trim: Trim,
		Accept: func(c *v1alpha1.TidbCluster) bool { return tidbcluster.ParseOptIn(c.Annotations).Covers(component) },
	})
	visit(hopTo(ref, cluster, err))
	if err := checkOwner(tidbClusterKind(), key, ref.UID, cluster, err); err != nil {
		return tidbcluster.Membership{}, err
	}
	return tidbcluster.Membership{
		Cluster:   key,
		UID:       cluster.UID,
		Component: component,
		OptIn:     tidbcluster.ParseOptIn(cluster.Annotations),
		Deleting:  !cluster.DeletionTimestamp.IsZero(),
	}, nil
}

// ComponentOf returns the component in the name of a pod's workload, which belongs to
// the TidbCluster and is always "CLUSTER-COMPONENT". The pod's label must agree,
// but does not decide, because anybody who may create a pod can write any label. The
// error is tidbcluster.ErrNotMember.
func ComponentOf(pod *corev1.Pod, cluster, workload string) (tidbcluster.Component, error) {
	suffix, ok := strings.CutPrefix(workload, cluster+"-")
	component, err := tidbcluster.ParseComponent(suffix)
	if !ok || err != nil {
		return "", fmt.Errorf("workload %s is no known component of TidbCluster %s: %w", workload, cluster, tidbcluster.ErrNotMember)
	}
	if label := pod.Labels[tidbcluster.ComponentLabel]; label != string(component) {
		return "", fmt.Errorf("pod is labelled %s=%.64q but belongs to %s: %w", tidbcluster.ComponentLabel, label, workload, tidbcluster.ErrNotMember)
	}
	return component, nil
}

// checkOwner turns what reading an owner returned into Resolve's error. It returns
// nil only if the object exists and has the UID of the reference.
func checkOwner(k kind, key types.NamespacedName, uid types.UID, owner metav1.Object, err error) error {
	switch {
	case confirm.IsAbsent(err):
		return fmt.Errorf("%s %s: %w", k.Kind, key, tidbcluster.ErrStaleOwner)
	case err != nil:
		return fmt.Errorf("read %s %s: %w", k.Kind, key, err)
	case owner.GetUID() != uid:
		return fmt.Errorf("%s %s has UID %s, not %s: %w", k.Kind, key, owner.GetUID(), uid, tidbcluster.ErrStaleOwner)
	default:
		return nil
	}
}

func notMember(childKind kind, name string, ref metav1.OwnerReference) error {
	if ref.Name == "" {
		return fmt.Errorf("%s %s has no controller: %w", childKind.Kind, name, tidbcluster.ErrNotMember)
	}
	return fmt.Errorf("%s %s is controlled by %s %s of %s: %w", childKind.Kind, name, ref.Kind, ref.Name, ref.APIVersion, tidbcluster.ErrNotMember)
}
