package networkfault

import (
	"context"
	"fmt"
	"slices"
	"strings"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/networkfault/keeper"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// PutRight tells people by Events that an agent did not hold what it had confirmed, such
// as after somebody replaced its faults by hand, or after it lost its state. The Events
// are on the TidbCluster and on the NetworkFaults and NetworkTopologies concerned.
type PutRight struct {
	// Reader reads TidbClusters, NetworkFaults and NetworkTopologies from the cache.
	Reader client.Reader
	Events events.EventRecorder
}

// Tell tells what a renewal had to change at an agent.
func (p PutRight) Tell(ctx context.Context, cluster types.NamespacedName, target keeper.Target, changes []api.Change) {
	note := tidbcluster.EventNote(fmt.Sprintf("pod %s had lost or changed faults of the controller, which were put right: %s", target.Pod.Name, wordsOf(target, changes)))
	keys := concerned(target, changes)
	pod := &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: target.Pod.Namespace, Name: target.Pod.Name, UID: target.UID}
	var tc tcv1alpha1.TidbCluster
	if err := p.Reader.Get(ctx, cluster, &tc); err == nil {
		p.Events.Eventf(tidbcluster.Reference(cluster, tc.UID), pod, corev1.EventTypeWarning, aspectOf(keys)+EventPutRight, EventPutRight, "%s", note)
	}
	for _, key := range keys {
		object, name := emptyOf(key)
		if err := p.Reader.Get(ctx, types.NamespacedName{Namespace: cluster.Namespace, Name: name}, object); err == nil {
			p.Events.Eventf(referenceTo(object), pod, corev1.EventTypeWarning, EventPutRight, EventPutRight, "%s", note)
		}
	}
}

// aspectOf is what the reason of an Event on a TidbCluster begins with: "Topology" if nothing
// but topologies is concerned, else "Fault".
func aspectOf(keys []string) string {
	isFault := func(key string) bool { _, isTopology := compile.CutTopologyKey(key); return !isTopology }
	if len(keys) == 0 || slices.ContainsFunc(keys, isFault) {
		return "Fault"
	}
	return "Topology"
}

// wordsOf says what was found, from what had to be done. People know their objects, and
// not the names of the faults that are made of them.
func wordsOf(target keeper.Target, changes []api.Change) string {
	found := map[string]string{api.ActionAdd: "was missing", api.ActionRestore: "was not as asked for in the kernel", api.ActionChange: "was another one", api.ActionRemove: "was there and should not have been"}
	var all []string
	for _, c := range changes {
		of := fmt.Sprintf("fault %q", c.Name)
		if i := slices.IndexFunc(target.Faults, func(f decide.Fault) bool { return f.Name == c.Name }); i >= 0 {
			of = target.Faults[i].Of()
		}
		if said := of + " " + found[c.Action]; !slices.Contains(all, said) {
			all = append(all, said)
		}
	}
	return strings.Join(all, ", ")
}

// concerned returns the keys of the objects that the changed faults are made of, each once.
func concerned(target keeper.Target, changes []api.Change) []string {
	var names []string
	for _, f := range target.Faults {
		if slices.ContainsFunc(changes, func(c api.Change) bool { return c.Name == f.Name }) {
			names = append(names, f.Objects...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
