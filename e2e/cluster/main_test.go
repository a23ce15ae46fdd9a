//go:build e2e

package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	pingcapv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/e2e-framework/klient/k8s/resources"
	"sigs.k8s.io/e2e-framework/klient/wait"
	"sigs.k8s.io/e2e-framework/klient/wait/conditions"
	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// What hack/e2e.sh gives this package.
var (
	kubeconfig   = os.Getenv("KUBECONFIG")
	kubectl      = cmp.Or(os.Getenv("TIDELAY_KUBECTL"), "kubectl")
	dbVersion    = cmp.Or(os.Getenv("DB_VERSION"), "v8.1.0")
	storageClass = cmp.Or(os.Getenv("TIDELAY_STORAGE_CLASS"), "standard")
	pingerImage  = cmp.Or(os.Getenv("TIDELAY_PINGER_IMAGE"), "tidelay/pinger:dev")
	agentImage   = cmp.Or(os.Getenv("TIDELAY_AGENT_IMAGE"), "tidelay/agent:dev")
	// The cluster is deleted after the tests, so that they need not clean it.
	clusterEnds = os.Getenv("TIDELAY_CLUSTER_ENDS") == "1"
)

// The injector's names, as the manifests have them.
const (
	tidelayNamespace = "tidelay-system"
	injectorName     = "tidelay-injector"
	controllerName   = "tidelay-controller"
)

// patient bounds every wait for the cluster; nothing takes nearly as long.
const patient = 4 * time.Minute

var (
	testEnv   env.Environment
	namespace = envconf.RandomName("tidelay-e2e", 18)
	theWorld  *world
	theClaims = newClaims()

	// Faults of whole TidbClusters have a world of their own (faulted_test.go).
	faultedNamespace = namespace + "-faulted"
	theFaulted       *world
)

func TestMain(m *testing.M) {
	if kubeconfig == "" {
		fmt.Fprintln(os.Stderr, "the cluster tier needs KUBECONFIG; run it with `make e2e`")
		os.Exit(1)
	}
	testEnv = env.NewWithConfig(envconf.NewWithKubeConfig(kubeconfig).WithParallelTestEnabled())
	testEnv.Setup(install, makeWorld)
	if !clusterEnds {
		testEnv.Finish(removeWorld, uninstall)
	}
	os.Exit(testEnv.Run(m))
}

// install applies what users apply, and waits until both Deployments are available.
func install(ctx context.Context, cfg *envconf.Config) (context.Context, error) {
	apply := exec.CommandContext(ctx, kubectl, "apply", "-k", filepath.Join("..", "..", "manifests"))
	if out, err := apply.CombinedOutput(); err != nil {
		return ctx, fmt.Errorf("install Tidelay: %w\n%s", err, out)
	}
	for _, name := range []string{injectorName, controllerName} {
		available := conditions.New(cfg.Client().Resources()).DeploymentAvailable(name, tidelayNamespace)
		if err := wait.For(available, wait.WithContext(ctx), wait.WithTimeout(patient), wait.WithInterval(time.Second)); err != nil {
			return ctx, fmt.Errorf("wait for %s: %w", name, err)
		}
	}
	return ctx, nil
}

func uninstall(ctx context.Context, _ *envconf.Config) (context.Context, error) {
	remove := exec.CommandContext(ctx, kubectl, "delete", "--ignore-not-found", "-k", filepath.Join("..", "..", "manifests"))
	if out, err := remove.CombinedOutput(); err != nil {
		return ctx, fmt.Errorf("remove Tidelay: %w\n%s", err, out)
	}
	return ctx, nil
}

func removeWorld(ctx context.Context, cfg *envconf.Config) (context.Context, error) {
	var err error
	for _, name := range []string{namespace, faultedNamespace} {
		err = errors.Join(err, cfg.Client().Resources().Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	}
	return ctx, err
}

// makeWorld creates what the tests look at, all at once. In theWorld: an annotated and an
// un-annotated TidbCluster side by side, workloads that are no TidbCluster's, and a place
// to measure from. In theFaulted: a TidbCluster with a pod for each role, two beside it,
// and a place to measure from in each of their pods.
func makeWorld(ctx context.Context, cfg *envconf.Config) (context.Context, error) {
	start := time.Now()
	defer func() { fmt.Printf("the world was made in %s\n", time.Since(start).Round(time.Second)) }()
	var err error
	if theWorld, err = newWorld(cfg, namespace); err != nil {
		return ctx, err
	}
	if theFaulted, err = newWorld(cfg, faultedNamespace); err != nil {
		return ctx, err
	}
	if err := theWorld.create(ctx, append(theWorld.clusters(), theWorld.bystanders()...)); err != nil {
		return ctx, err
	}
	if err := theFaulted.create(ctx, theFaulted.faultedObjects()); err != nil {
		return ctx, err
	}
	if err := theWorld.waitForClusters(ctx, annotated, plain); err != nil {
		return ctx, err
	}
	if err := theWorld.waitForPods(ctx, podsOf(annotated)+podsOf(plain)+4); err != nil {
		return ctx, err
	}
	return ctx, theFaulted.waitForFaulted(ctx)
}

// create creates the namespace and what is in it.
func (w *world) create(ctx context.Context, objects []object) error {
	objects = append([]object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}}, objects...)
	for _, o := range objects {
		if err := w.Create(ctx, o); err != nil {
			return fmt.Errorf("create %T %s: %w", o, o.GetName(), err)
		}
	}
	return nil
}

func (w *world) waitForClusters(ctx context.Context, names ...string) error {
	for _, name := range names {
		ready := conditions.New(w.Resources).ResourceMatch(
			&pingcapv1alpha1.TidbCluster{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace}}, isReady)
		if err := wait.For(ready, wait.WithContext(ctx), wait.WithTimeout(patient), wait.WithInterval(time.Second)); err != nil {
			return fmt.Errorf("wait for TidbCluster %s to be Ready: %w\n%s", name, err, w.describe(ctx))
		}
	}
	return nil
}

// world is a namespace of the tests, and the injector's.
type world struct {
	*resources.Resources
	injector  *resources.Resources
	namespace string
}

func newWorld(cfg *envconf.Config, namespace string) (*world, error) {
	// Without a limit of its own, which is 5 requests a second: the tests side by side share
	// a client, and would wait for that most of their time.
	config := rest.CopyConfig(cfg.Client().RESTConfig())
	config.QPS = -1
	// Two of them, because WithNamespace changes the one it is called on.
	own, err := resources.New(config)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	injector, err := resources.New(config)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	if err := pingcapv1alpha1.AddToScheme(own.GetScheme()); err != nil {
		return nil, fmt.Errorf("add TidbCluster to the scheme: %w", err)
	}
	if err := v1alpha1.AddToScheme(own.GetScheme()); err != nil {
		return nil, fmt.Errorf("add NetworkFault to the scheme: %w", err)
	}
	return &world{Resources: own.WithNamespace(namespace), injector: injector.WithNamespace(tidelayNamespace), namespace: namespace}, nil
}

// describeAgent shows what an agent logged, also before it was restarted.
func (w *world) describeAgent(ctx context.Context, pod corev1.Pod) string {
	logs := []string{"-n", w.namespace, "logs", pod.Name, "-c", agentName, "--tail=50"}
	now, _ := exec.CommandContext(ctx, kubectl, logs...).CombinedOutput()
	before, _ := exec.CommandContext(ctx, kubectl, append(logs, "--previous")...).CombinedOutput()
	return fmt.Sprintf("%s\nlog of the agent in %s:\n%s\nand before its restart:\n%s", w.describe(ctx), pod.Name, now, before)
}

// describe shows the pods and the events, for a failure.
func (w *world) describe(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, kubectl, "-n", w.namespace, "get", "tidbclusters,pods,events", "-o", "wide").CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s%v", out, err)
	}
	return string(out)
}
