package tidbcluster

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/confirm"
)

// OperatorVersion returns the image tag of the TiDB Operator that runs cluster,
// "v1.6.0", or "" where there is none. It is that of the discovery service,
// which is a program of the operator's own image
// (pkg/manager/member/tidb_discovery_manager.go).
//
// The Deployment is always read live: the cache keeps no more than metadata.
func (r *Resolver) OperatorVersion(ctx context.Context, cluster types.NamespacedName) (string, error) {
	empty := &appsv1.Deployment{}
	empty.SetGroupVersionKind(deploymentKind())
	key := types.NamespacedName{Namespace: cluster.Namespace, Name: cluster.Name + "-" + string(Discovery)}
	deployment, err := confirm.Read(ctx, r.reader, confirm.Wanted[*appsv1.Deployment]{
		Empty: empty, Key: key, Believe: func(*appsv1.Deployment) bool { return true },
	})
	switch {
	case confirm.IsAbsent(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("read Deployment %s: %w", key, err)
	}
	for _, c := range deployment.Spec.Template.Spec.Containers {
		if c.Name == string(Discovery) {
			return tag(c.Image), nil
		}
	}
	return "", nil
}

// tag returns an image's tag, "" if it has none.
func tag(image string) string {
	name, _, _ := strings.Cut(image, "@")
	_, tag, _ := strings.Cut(name[strings.LastIndex(name, "/")+1:], ":")
	return tag
}
