package resolve

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// OperatorVersion returns the image tag of the TiDB Operator that runs cluster,
// such as "v1.6.0", or "" if the image has no tag or there is no discovery
// service. The tag is read from the discovery service, a program of the
// operator's own image (pkg/manager/member/tidb_discovery_manager.go).
//
// The Deployment is always read live, because the cache has metadata only.
func (r *Resolver) OperatorVersion(ctx context.Context, cluster types.NamespacedName) (string, error) {
	empty := &appsv1.Deployment{}
	empty.SetGroupVersionKind(deploymentKind())
	key := types.NamespacedName{Namespace: cluster.Namespace, Name: cluster.Name + "-" + string(tidbcluster.Discovery)}
	deployment, err := confirm.Read(ctx, r.reader, confirm.Query[*appsv1.Deployment]{Empty: empty, Key: key})
	switch {
	case confirm.IsAbsent(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("read Deployment %s: %w", key, err)
	}
	for _, c := range deployment.Spec.Template.Spec.Containers {
		if c.Name == string(tidbcluster.Discovery) {
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
