package tidbcluster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/confirm"
)

var (
	// ErrNotMember reports a pod that is no part of a TidbCluster.
	ErrNotMember = errors.New("not part of a TidbCluster")
	// ErrStaleOwner reports an owner reference to an object that does not exist,
	// or exists under another UID.
	ErrStaleOwner = errors.New("owner does not exist")
)

// Membership is a pod's place in a TidbCluster.
type Membership struct {
	// Cluster names the TidbCluster, UID is its UID.
	Cluster types.NamespacedName
	UID     types.UID
	// Component is what the pod is in it.
	Component Component
	// OptIn is what the TidbCluster asks for.
	OptIn OptIn
	// Deleting is whether the TidbCluster is being deleted.
	Deleting bool
}

// Resolver finds the TidbCluster of a pod.
type Resolver struct {
	reader *confirm.Reader
}

// NewResolver returns a Resolver that reads owners from reader.
func NewResolver(reader *confirm.Reader) *Resolver {
	return &Resolver{reader: reader}
}

// Resolve returns the membership of a pod in namespace; the pod itself may not
// know its namespace yet. It never answers "no" from a cache alone: a missing
// owner, one with another UID, and a TidbCluster that is not opted in or leaves
// the component out are each read from the API server, unless they were a moment
// ago (see confirm.Read).
//
// The error is ErrNotMember, ErrStaleOwner, or one that says which read failed.
func (r *Resolver) Resolve(ctx context.Context, namespace string, pod *corev1.Pod) (Membership, error) {
	var (
		child     metav1.Object = pod
		childKind               = podKind()
	)
	for {
		ref, ownerKind, ok := controller(childKind, child)
		if !ok {
			return Membership{}, notMember(childKind, child.GetName(), ref)
		}
		if ownerKind == tidbClusterKind() {
			return r.membership(ctx, pod, types.NamespacedName{Namespace: namespace, Name: ref.Name}, ref.UID, child.GetName())
		}
		key := types.NamespacedName{Namespace: namespace, Name: ref.Name}
		owner, err := confirm.Read(ctx, r.reader, confirm.Wanted[*metav1.PartialObjectMetadata]{
			Empty: metadataOf(ownerKind), Key: key, UID: ref.UID, Trim: Trim,
			Believe: func(*metav1.PartialObjectMetadata) bool { return true },
		})
		if err := judge(ownerKind, key, ref.UID, owner, err); err != nil {
			return Membership{}, err
		}
		child, childKind = owner, ownerKind
	}
}

// membership reads the TidbCluster called key, which workload names as its
// controller, and says what pod is in it.
func (r *Resolver) membership(ctx context.Context, pod *corev1.Pod, key types.NamespacedName, uid types.UID, workload string) (Membership, error) {
	component, err := componentOf(pod, key.Name, workload)
	if err != nil {
		return Membership{}, err
	}
	cluster, err := confirm.Read(ctx, r.reader, confirm.Wanted[*v1alpha1.TidbCluster]{
		Empty: emptyTidbCluster(), Key: key, UID: uid, Trim: Trim,
		Believe: func(c *v1alpha1.TidbCluster) bool { return ParseOptIn(c.Annotations).Covers(component) },
	})
	if err := judge(tidbClusterKind(), key, uid, cluster, err); err != nil {
		return Membership{}, err
	}
	return Membership{
		Cluster:   key,
		UID:       cluster.UID,
		Component: component,
		OptIn:     ParseOptIn(cluster.Annotations),
		Deleting:  !cluster.DeletionTimestamp.IsZero(),
	}, nil
}

// componentOf takes the component from the name of the workload, which belongs
// to the TidbCluster and always is "<cluster>-<component>". The pod's label only
// has to agree: anybody who may create a pod can write any label.
func componentOf(pod *corev1.Pod, cluster, workload string) (Component, error) {
	suffix, ok := strings.CutPrefix(workload, cluster+"-")
	component, err := ParseComponent(suffix)
	if !ok || err != nil {
		return "", fmt.Errorf("workload %s is no known component of TidbCluster %s: %w", workload, cluster, ErrNotMember)
	}
	if label := pod.Labels[componentLabel]; label != string(component) {
		return "", fmt.Errorf("pod is labelled %s=%.64q but belongs to %s: %w", componentLabel, label, workload, ErrNotMember)
	}
	return component, nil
}

// judge turns the outcome of reading an owner into Resolve's error: nil only if
// the object is there and is the one the reference means.
func judge(k kind, key types.NamespacedName, uid types.UID, owner metav1.Object, err error) error {
	switch {
	case confirm.IsAbsent(err):
		return fmt.Errorf("%s %s: %w", k.Kind, key, ErrStaleOwner)
	case err != nil:
		return fmt.Errorf("read %s %s: %w", k.Kind, key, err)
	case owner.GetUID() != uid:
		return fmt.Errorf("%s %s has UID %s, not %s: %w", k.Kind, key, owner.GetUID(), uid, ErrStaleOwner)
	default:
		return nil
	}
}

func notMember(childKind kind, name string, ref metav1.OwnerReference) error {
	if ref.Name == "" {
		return fmt.Errorf("%s %s has no controller: %w", childKind.Kind, name, ErrNotMember)
	}
	return fmt.Errorf("%s %s is controlled by %s %s of %s: %w", childKind.Kind, name, ref.Kind, ref.Name, ref.APIVersion, ErrNotMember)
}
