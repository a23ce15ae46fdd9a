// Command capture takes the pods that pkg/injection's golden test injects. It
// listens as a webhook of a cluster with TiDB Operator, creates a TidbCluster
// and writes down each component's first pod, as the API server hands it to
// webhooks at CREATE. hack/capture.sh runs it.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/yaml"
)

//go:embed cluster.yaml
var clusterYAML []byte

// steps are what is added to cluster.yaml, one after the other, and the
// components to wait for. Where Pump does not run TiDB Operator goes no further,
// and where PD's microservices do not answer, not even to Pump.
var steps = []struct {
	patch      string
	components []string
}{
	{`{}`, []string{"discovery", "pd", "tikv", "tidb", "tiflash", "ticdc", "tiproxy"}},
	{`{"spec": {"pump": {"baseImage": "pingcap/tidb-binlog", "replicas": 1, "requests": {"storage": "1Gi"}, "config": {}}}}`, []string{"pump"}},
	{`{"spec": {"pd": {"mode": "ms"}, "pdms": [
		{"name": "tso", "baseImage": "pingcap/pd", "replicas": 1, "config": {}},
		{"name": "scheduling", "baseImage": "pingcap/pd", "replicas": 1, "config": {}}
	]}}`, []string{"tso", "scheduling"}},
}

func main() {
	host := flag.String("host", "", "address at which the cluster reaches this program")
	out := flag.String("out", "", "folder to write <component>/in.yaml to")
	limit := flag.Duration("timeout", 4*time.Minute, "how long to wait for all pods")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, *limit)
	err := run(ctx, *host, *out)
	cancel()
	stop()
	if err != nil {
		slog.Error("capture failed", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, host, out string) (err error) {
	restConfig, err := config.GetConfig()
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	c, err := client.New(restConfig, client.Options{})
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	header, err := origin(ctx, restConfig, c)
	if err != nil {
		return err
	}
	pods, hook, err := listen(ctx, host)
	if err != nil {
		return err
	}
	cluster := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(clusterYAML, cluster); err != nil {
		return fmt.Errorf("decode cluster.yaml: %w", err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: cluster.GetNamespace()}}
	for _, o := range []client.Object{namespace, hook, cluster} {
		if err := c.Create(ctx, o); err != nil {
			return fmt.Errorf("create %s: %w", o.GetName(), err)
		}
		defer func() { err = errors.Join(err, c.Delete(context.WithoutCancel(ctx), o)) }()
	}
	for _, step := range steps {
		if err := c.Patch(ctx, cluster, client.RawPatch(types.MergePatchType, []byte(step.patch))); err != nil {
			return fmt.Errorf("patch %s: %w", cluster.GetName(), err)
		}
		if err := write(ctx, pods, out, header, step.components); err != nil {
			return err
		}
	}
	return nil
}

// origin says where the pods come from, for the first lines of their files.
func origin(ctx context.Context, restConfig *rest.Config, c client.Client) (string, error) {
	kubernetes, err := discovery.NewDiscoveryClientForConfig(restConfig)
	if err != nil {
		return "", fmt.Errorf("make discovery client: %w", err)
	}
	version, err := kubernetes.ServerVersion()
	if err != nil {
		return "", fmt.Errorf("read Kubernetes' version: %w", err)
	}
	var operator appsv1.Deployment
	if err := c.Get(ctx, types.NamespacedName{Namespace: "tidb-admin", Name: "tidb-controller-manager"}, &operator); err != nil {
		return "", fmt.Errorf("read TiDB Operator's image: %w", err)
	}
	return fmt.Sprintf("# As webhooks get it at CREATE, but for metadata.managedFields. Taken by hack/capture.sh\n# from %s on Kubernetes %s.\n",
		operator.Spec.Template.Spec.Containers[0].Image, version.GitVersion), nil
}
