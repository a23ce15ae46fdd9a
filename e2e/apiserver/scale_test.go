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
)

// One thousand pods, each right behind its StatefulSet and its TidbCluster: all
// are injected.
func TestThousandClusters(t *testing.T) {
	const clusters = 1000
	n := newNamespace(t)
	before, started, missed := world.injector.liveReads(t), time.Now(), 0
	for i := range clusters {
		name := fmt.Sprintf("tc%d", i)
		set := n.statefulSet(name+"-tikv", n.cluster(name, optedIn()))
		if stored, _ := n.post(n.pod(set.Name+"-0", "tikv", set), wet); agents(stored) != 1 {
			missed++
		}
	}
	t.Logf("%d clusters with a pod each in %s, %d live reads", clusters, time.Since(started), world.injector.liveReads(t)-before)
	if missed != 0 {
		t.Errorf("%d of %d pods were not injected", missed, clusters)
	}
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
		must(t, world.routeTo(t.Context(), serving...))
		<-old.exited
	}
	close(stop)
	load.Wait()
	inUse.Wait()
	world.injector = serving[1]
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
