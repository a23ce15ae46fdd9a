//go:build e2e

package cluster

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/e2e-framework/klient/k8s"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
)

// injectorRollouts is how often the injector is rolled out under a stream of pods. Each
// takes half a minute.
var injectorRollouts = cmp.Or(os.Getenv("TIDELAY_ROLLOUTS"), "1")

// Each rollout gives agents another pull secret, which a pod shows. Pods are admitted
// all the while. None may be missed, and none that is asked for after kubectl has called
// the rollout finished may have older settings.
func TestInjectorRollout(t *testing.T) {
	theClaims.sideBySide(t, changes(theInjector))
	n, err := strconv.Atoi(injectorRollouts)
	if err != nil || n < 1 {
		t.Fatalf("TIDELAY_ROLLOUTS is %q, want a number from 1", injectorRollouts)
	}
	testEnv.Test(t, features.New("the injector").
		Assess("rolled out: no pod has older settings afterwards", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			t.Cleanup(func() { theWorld.rollOutConfig(context.Background(), t, injectorName) })
			for i := range n {
				name := fmt.Sprintf("rollout-%d", i)
				theWorld.createConfig(ctx, t, name)
				stop := theWorld.admitPods(ctx, t, name)
				theWorld.rollOutConfig(ctx, t, name)
				finished := time.Now()
				asked := stop()
				wantSettings(t, asked, finished, name)
			}
			return ctx
		}).Feature())
}

// admitted is a pod that was admitted on a dry run.
type admitted struct {
	asked   time.Time
	agents  int
	secrets []corev1.LocalObjectReference
}

// admitPods admits pods one after the other until stop is called, and then some more that
// may only have the settings called name. stop returns them all.
func (w *world) admitPods(ctx context.Context, t *testing.T, name string) (stop func() []admitted) {
	t.Helper()
	pod := w.podToRemake(ctx, t, annotated)
	ending, ended := make(chan struct{}), make(chan []admitted)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond) // other tests need the machine too
		defer tick.Stop()
		var all []admitted
		after := 0
		for after < 100 {
			<-tick.C
			select {
			case <-ending:
				after++
			default:
			}
			next := admitted{asked: time.Now()}
			made := pod.DeepCopy()
			if err := w.dryRun(ctx, made); err != nil {
				t.Errorf("rollout %s: %v", name, err)
				break
			}
			next.agents, next.secrets = agents(*made), made.Spec.ImagePullSecrets
			all = append(all, next)
		}
		ended <- all
	}()
	return func() []admitted {
		close(ending)
		return <-ended
	}
}

// wantSettings checks what was admitted during a rollout, and after it had finished.
func wantSettings(t *testing.T, all []admitted, finished time.Time, name string) {
	t.Helper()
	after := 0
	for _, a := range all {
		if a.agents != 1 {
			t.Errorf("%s: a pod was missed %s before the rollout was finished", name, finished.Sub(a.asked))
		}
		if a.asked.Before(finished) {
			continue
		}
		after++
		if !slices.Contains(a.secrets, corev1.LocalObjectReference{Name: name}) {
			t.Errorf("%s: a pod has the settings %v %s after the rollout was finished", name, a.secrets, a.asked.Sub(finished))
		}
	}
	t.Logf("%s: %d pods, %d of them after the rollout was finished", name, len(all), after)
	if after == 0 || after == len(all) {
		t.Errorf("%s: the test proves nothing", name)
	}
}

// createConfig creates a configuration of the injector with a pull secret of that name. It
// is another ConfigMap, because a change of the one there would reach the old replicas too.
func (w *world) createConfig(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	config := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: tidelayNamespace, Name: name},
		Data:       map[string]string{"config.yaml": fmt.Sprintf("agent: {imagePullSecrets: [%s]}\n", name)},
	}
	if err := w.injector.Create(ctx, config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.injector.Delete(ctx, config); err != nil {
			t.Error(err)
		}
	})
}

// rollOutConfig has the injector read a ConfigMap, and returns when kubectl calls the
// rollout finished.
func (w *world) rollOutConfig(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: injectorName, Namespace: tidelayNamespace}}
	patch := fmt.Appendf(nil, `{"spec":{"template":{"spec":{"volumes":[{"name":"config","configMap":{"name":%q}}]}}}}`, name)
	if err := w.injector.Patch(ctx, d, k8s.Patch{PatchType: types.StrategicMergePatchType, Data: patch}); err != nil {
		t.Fatal(err)
	}
	rolloutStatus(ctx, t)
}

// rolloutStatus waits as people do.
func rolloutStatus(ctx context.Context, t *testing.T) {
	t.Helper()
	status := exec.CommandContext(ctx, kubectl, "-n", tidelayNamespace, "rollout", "status", "deployment/"+injectorName, "--timeout="+patient.String())
	if out, err := status.CombinedOutput(); err != nil {
		pods, _ := exec.CommandContext(ctx, kubectl, "-n", tidelayNamespace, "get", "pods,events", "-o", "wide").CombinedOutput()
		t.Fatalf("the rollout did not finish: %v\n%s\n%s", err, out, pods)
	}
}
