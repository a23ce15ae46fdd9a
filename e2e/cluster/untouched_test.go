//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"

	pingcapv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/e2e-framework/klient/k8s/resources"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
)

// What TiDB Operator runs for a cluster is not the cluster. Its monitor's pods
// even have the labels of a component's.
func TestUntouched(t *testing.T) {
	theClaims.sideBySide(t, needs(theInjector), changes(annotated))
	var others []features.Feature
	for _, other := range helpers() {
		others = append(others, features.New(fmt.Sprintf("%T of the annotated cluster", other.object)).
			Assess("has no agent", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
				if err := theWorld.Create(ctx, other.object); err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := theWorld.Delete(ctx, other.object); err != nil {
						t.Error(err)
					}
				}()
				var pods corev1.PodList
				err := theWorld.poll(ctx, func(ctx context.Context) error {
					if err := theWorld.List(ctx, &pods, resources.WithLabelSelector(other.pods)); err != nil {
						return err
					}
					if len(pods.Items) == 0 {
						return fmt.Errorf("no pod with %s", other.pods)
					}
					return nil
				})
				if err != nil {
					t.Fatalf("%v\n%s", err, theWorld.describe(ctx))
				}
				for _, pod := range pods.Items {
					if agents(pod) != 0 {
						t.Errorf("pod %s has an agent", pod.Name)
					}
					for key := range pod.Annotations {
						if strings.HasPrefix(key, "tidelay.io/") {
							t.Errorf("pod %s has the annotation %s", pod.Name, key)
						}
					}
				}
				return ctx
			}).Feature())
	}
	testEnv.Test(t, others...)
}

// A helper is made by TiDB Operator into pods that the selector finds. They need
// not start.
type helper struct {
	object object
	pods   string
}

func helpers() []helper {
	meta := metav1.ObjectMeta{Name: annotated, Namespace: namespace}
	cluster := pingcapv1alpha1.TidbClusterRef{Name: annotated, Namespace: namespace}
	container := func(name string) pingcapv1alpha1.MonitorContainer {
		return pingcapv1alpha1.MonitorContainer{BaseImage: "example.com/" + name, Version: dbVersion}
	}
	return []helper{
		{&pingcapv1alpha1.TidbInitializer{
			ObjectMeta: meta,
			Spec:       pingcapv1alpha1.TidbInitializerSpec{Image: "example.com/mysql", Clusters: cluster, InitSql: new("SELECT 1")},
		}, "job-name=" + annotated + "-tidb-initializer"},
		{&pingcapv1alpha1.TidbMonitor{
			ObjectMeta: meta,
			Spec: pingcapv1alpha1.TidbMonitorSpec{
				Clusters:    []pingcapv1alpha1.TidbClusterRef{cluster},
				Prometheus:  pingcapv1alpha1.PrometheusSpec{MonitorContainer: container("prometheus")},
				Reloader:    pingcapv1alpha1.ReloaderSpec{MonitorContainer: container("reloader")},
				Initializer: pingcapv1alpha1.InitializerSpec{MonitorContainer: container("initializer")},
			},
		}, "app.kubernetes.io/component=monitor,app.kubernetes.io/instance=" + annotated},
		{&pingcapv1alpha1.Backup{
			ObjectMeta: meta,
			Spec: pingcapv1alpha1.BackupSpec{
				Type: pingcapv1alpha1.BackupTypeFull, ServiceAccount: "default",
				BR: &pingcapv1alpha1.BRConfig{Cluster: annotated, ClusterNamespace: namespace},
				StorageProvider: pingcapv1alpha1.StorageProvider{Local: &pingcapv1alpha1.LocalStorageProvider{
					Volume:      corev1.Volume{Name: "backup", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
					VolumeMount: corev1.VolumeMount{Name: "backup", MountPath: "/backup"},
				}},
			},
		}, "job-name=backup-" + annotated},
	}
}
