//go:build apiserver

package apiserver

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// One thousand pods, each right behind its StatefulSet and its TidbCluster, and
// many at a time: all are injected.
func TestThousandClusters(t *testing.T) {
	const (
		clusters = 1000
		workers  = 16
	)
	n := newNamespace(t)
	before, started := world.injector.liveReads(t), time.Now()
	var (
		next, missed atomic.Int32
		group        errgroup.Group
	)
	for range workers {
		group.Go(func() error {
			for i := next.Add(1); i <= clusters; i = next.Add(1) {
				pod, err := n.podOfNewCluster(fmt.Sprintf("tc%d", i))
				if err != nil {
					return err
				}
				stored, _, err := n.send(context.Background(), pod, wet, &warnings{})
				if err != nil {
					return err
				}
				if agents(stored) != 1 {
					missed.Add(1)
				}
			}
			return nil
		})
	}
	must(t, group.Wait())
	t.Logf("%d clusters with a pod each in %s, %d live reads", clusters, time.Since(started), world.injector.liveReads(t)-before)
	if missed.Load() != 0 {
		t.Errorf("%d of %d pods were not injected", missed.Load(), clusters)
	}
}

// podOfNewCluster makes an annotated TidbCluster and its StatefulSet, and
// returns a pod of that, which it does not make.
func (n namespace) podOfNewCluster(name string) (*corev1.Pod, error) {
	tc := n.custom("pingcap.com/v1alpha1", "TidbCluster", name, nil, map[string]any{})
	tc.SetAnnotations(optedIn())
	if err := world.client.Create(context.Background(), tc); err != nil {
		return nil, err
	}
	set := &appsv1.StatefulSet{ObjectMeta: n.meta(name+"-tikv", tc), Spec: appsv1.StatefulSetSpec{
		Selector: selector(name), Template: template(name),
	}}
	if err := world.client.Create(context.Background(), set); err != nil {
		return nil, err
	}
	return n.pod(set.Name+"-0", "tikv", set), nil
}

// A rolling restart of the injector, as the shipped Deployment does it (one
// more, none less), while 50 pods/s are made: none is missed.
func TestRollingRestartMissesNoPod(t *testing.T) {
	const (
		interval = time.Second / 50
		// lag is how long kube-proxy goes on with a replica that is not ready.
		lag = 3 * time.Second
	)
	first := world.injector
	second := newReplica(t)
	must(t, second.waitReady(t.Context()))
	serving := []*replica{first, second}
	must(t, world.routeTo(t.Context(), serving...))

	n := newNamespace(t)
	set := n.statefulSet("basic-tikv", n.cluster("basic", optedIn()))
	var (
		missed, asked atomic.Int32
		stop          = make(chan struct{})
		load, inUse   sync.WaitGroup
	)
	load.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			inUse.Go(func() {
				asked.Add(1)
				pod := n.pod(fmt.Sprintf("basic-tikv-%d", i), "tikv", set)
				stored, _, err := n.send(context.Background(), pod, dryRun, &warnings{})
				if err != nil {
					t.Error(err)
				} else if agents(stored) != 1 {
					missed.Add(1)
				}
			})
		}
	})

	halt := sync.OnceFunc(func() {
		close(stop)
		load.Wait()
		inUse.Wait()
	})
	defer halt()

	started := time.Now()
	for range 2 {
		fresh := newReplica(t)
		must(t, fresh.waitReady(t.Context()))
		must(t, world.routeTo(t.Context(), append(slices.Clone(serving), fresh)...))
		old := serving[0]
		must(t, old.cmd.Process.Signal(syscall.SIGTERM))
		// Calls still go there for as long as the nodes take to hear of it.
		time.Sleep(lag)
		if _, err := get(t.Context(), "http://"+old.health+"/readyz"); err == nil {
			t.Error("still ready after SIGTERM")
		}
		serving = append(serving[1:], fresh)
		world.injector = fresh
		must(t, world.routeTo(t.Context(), serving...))
		<-old.exited
	}
	halt()
	must(t, world.serveFrom(t.Context(), world.injector))

	took := time.Since(started)
	rate := float64(asked.Load()) / took.Seconds()
	t.Logf("%d pods in %s, %.0f/s, %d missed", asked.Load(), took, rate, missed.Load())
	if rate < 40 {
		t.Errorf("%.0f pods/s, want about 50", rate)
	}
	if missed.Load() != 0 {
		t.Errorf("%d of %d pods were missed", missed.Load(), asked.Load())
	}
}
