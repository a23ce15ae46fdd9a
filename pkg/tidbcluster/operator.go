package tidbcluster

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/tidelay/tidelay/pkg/tidbcluster/confirm"
)

// OperatorVersion returns the version of the TiDB Operator that runs cluster,
// or nil where the tag of its image does not say: the discovery service is a
// program of the operator's own image
// (pkg/manager/member/tidb_discovery_manager.go).
//
// The Deployment is always read live: the cache keeps no more than metadata.
func (r *Resolver) OperatorVersion(ctx context.Context, cluster types.NamespacedName) (*version.Version, error) {
	empty := &appsv1.Deployment{}
	empty.SetGroupVersionKind(deploymentKind())
	key := types.NamespacedName{Namespace: cluster.Namespace, Name: cluster.Name + "-" + string(Discovery)}
	deployment, err := confirm.Read(ctx, r.reader, confirm.Wanted[*appsv1.Deployment]{
		Empty: empty, Key: key, Believe: func(*appsv1.Deployment) bool { return true },
	})
	switch {
	case confirm.IsAbsent(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read Deployment %s: %w", key, err)
	}
	for _, c := range deployment.Spec.Template.Spec.Containers {
		if c.Name == string(Discovery) {
			return tagVersion(c.Image), nil
		}
	}
	return nil, nil
}

// tagVersion returns the version that an image's tag is, or nil.
func tagVersion(image string) *version.Version {
	name, _, _ := strings.Cut(image, "@")
	_, tag, _ := strings.Cut(name[strings.LastIndex(name, "/")+1:], ":")
	v, err := version.ParseSemantic(tag)
	if err != nil {
		return nil
	}
	return v
}
