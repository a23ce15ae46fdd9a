//go:build apiserver

package apiserver

import (
	"errors"
	"syscall"
	"testing"
	"time"
)

// With no injector to reach, pods are admitted as they are; with a new one
// they are injected again, under the same CA.
func TestInjectorKilled(t *testing.T) {
	n := newNamespace(t)
	set := n.statefulSet("basic-tikv", n.cluster("basic", optedIn()))
	before, err := world.caBundle(t.Context())
	must(t, err)

	world.injector.kill()
	started := time.Now()
	stored, id := n.post(n.pod("basic-tikv-0", "tikv", set), wet)
	t.Logf("admitted in %s without an injector", time.Since(started))
	if agents(stored) != 0 {
		t.Error("an agent appeared from nowhere")
	}
	if !world.audit.event(t, id).failedOpen() {
		t.Error("the API server did not note that it failed open")
	}

	world.injector = newReplica(t)
	must(t, world.injector.waitReady(t.Context()))
	must(t, world.serveFrom(t.Context(), world.injector))
	n.admit(n.pod("basic-tikv-1", "tikv", set)).wants(t, "injected", "tikv")
	after, err := world.caBundle(t.Context())
	must(t, err)
	if string(before) != string(after) {
		t.Error("a new replica changed the CA")
	}
}

// A replica that is asked to end first says it is not ready, goes on serving
// until the Service has forgotten it, and then ends well.
func TestInjectorDrains(t *testing.T) {
	r := newReplica(t, "--drain=10s")
	must(t, r.waitReady(t.Context()))
	must(t, r.cmd.Process.Signal(syscall.SIGTERM))
	eventually(t, 5*time.Second, func() error {
		if _, err := get(t.Context(), "http://"+r.health+"/readyz"); err == nil {
			return errors.New("still ready after SIGTERM")
		}
		return nil
	})
	if _, err := r.certificate(t.Context()); err != nil {
		t.Errorf("not serving while it drains: %v", err)
	}
	select {
	case <-r.exited:
	case <-time.After(30 * time.Second):
		t.Fatal("the injector did not end")
	}
	if !r.cmd.ProcessState.Success() {
		t.Errorf("the injector ended with %s", r.cmd.ProcessState)
	}
}

// When the API server does not answer the injector, pods whose owners are
// cached are injected, and the others admitted in good time with a reason: the
// API server must not be the one to give up.
func TestAPIServerStalls(t *testing.T) {
	g := newGate(t, injectorName)
	r := newReplica(t, "--kubeconfig="+g.kubeconfig)
	lend(t, r)

	n := newNamespace(t)
	set := n.statefulSet("basic-tikv", n.cluster("basic", optedIn()))
	eventually(t, 10*time.Second, func() error {
		before := r.liveReads(t)
		n.post(n.pod("basic-tikv-0", "tikv", set), dryRun)
		if r.liveReads(t) != before {
			return errors.New("the owners are not cached yet")
		}
		return nil
	})

	g.requests.Lock()
	defer g.requests.Unlock()
	n.admit(n.pod("basic-tikv-0", "tikv", set)).wants(t, "injected", "tikv")
	stale := n.pod("basic-tikv-1", "tikv", set)
	stale.OwnerReferences[0].UID = otherUID
	started := time.Now()
	got := n.admit(stale)
	t.Logf("admitted in %s", time.Since(started))
	got.wants(t, "lookup_failed", "")
	if got.audit.failedOpen() {
		t.Error("the API server gave up waiting")
	}
}
