//go:build apiserver

package apiserver

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A dry run shows the agent and has no side effect; the wet one tells an Event
// on the TidbCluster.
func TestDryRun(t *testing.T) {
	n := newNamespace(t)
	set := n.statefulSet("basic-tikv", n.cluster("basic", optedIn()))
	n.admitIn(dryRun, n.pod("basic-tikv-0", "tikv", set)).wants(t, "injected", "tikv")
	n.admit(n.pod("basic-tikv-1", "tikv", set)).wants(t, "injected", "tikv")

	// Events are sent in order: with the second one here, a first one would be.
	event := n.eventOn("basic-tikv-1")
	if event.Reason != "injected" || event.Type != "Normal" {
		t.Errorf("Event is %s %s, want Normal injected", event.Type, event.Reason)
	}
	if r := event.Regarding; r.Kind != "TidbCluster" || r.Name != "basic" || r.UID == "" {
		t.Errorf("Event regards %s %s %s, want the TidbCluster", r.Kind, r.Name, r.UID)
	}
	for _, event := range n.events() {
		if strings.Contains(event.Note, "basic-tikv-0") {
			t.Errorf("the dry run told an Event: %s", event.Note)
		}
	}
}

// Who asked for an agent and gets none is told why.
func TestSkippedPodIsTold(t *testing.T) {
	n := newNamespace(t)
	pod := n.tikv(optedIn())
	pod.Spec.HostNetwork = true
	got := n.admit(pod)
	got.wants(t, "host_network", "tikv")
	if !slices.ContainsFunc(got.warnings, func(w string) bool { return strings.Contains(w, "host_network") }) {
		t.Errorf("the client was warned of %q, want host_network", got.warnings)
	}
	if event := n.eventOn(pod.Name); event.Reason != "host_network" || event.Type != "Warning" {
		t.Errorf("Event is %s %s, want Warning host_network", event.Type, event.Reason)
	}
}

// A typing error in an annotation is told, with what is accepted.
func TestUnknownComponentIsTold(t *testing.T) {
	n := newNamespace(t)
	pod := n.tikv(annotations{injectAnnotation: "true", componentsAnnotation: "tivk"})
	n.admit(pod).wants(t, "component_excluded", "tikv")
	event := n.eventOn(`"tivk"`)
	if event.Type != "Warning" || !strings.Contains(event.Note, "tiflash, tikv") {
		t.Errorf("Event is %s %s: %s, want a Warning with the accepted components", event.Type, event.Reason, event.Note)
	}
}

// eventOn waits for an Event whose text mentions what.
func (n namespace) eventOn(what string) eventsv1.Event {
	n.t.Helper()
	var found eventsv1.Event
	eventually(n.t, 10*time.Second, func() error {
		for _, event := range n.events() {
			if strings.Contains(event.Note, what) {
				found = event
				return nil
			}
		}
		return fmt.Errorf("no Event mentions %s", what)
	})
	return found
}

func (n namespace) events() []eventsv1.Event {
	n.t.Helper()
	list := &eventsv1.EventList{}
	must(n.t, world.client.List(n.t.Context(), list, client.InNamespace(n.name)))
	return list.Items
}
