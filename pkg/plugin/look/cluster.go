package look

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/plugin/object"
)

// Cluster is what is known of a TidbCluster at a moment.
type Cluster struct {
	Key types.NamespacedName
	// Object is nil if it may not be seen.
	Object *tcv1alpha1.TidbCluster
	// Pods are its pods that have not ended, by name.
	Pods []Pod
	// Faults and Topologies are the objects that name it, by name.
	Faults     []*v1alpha1.NetworkFault
	Topologies []*v1alpha1.NetworkTopology
	// OtherFaults and OtherTopologies name another TidbCluster of the namespace. They count for
	// their names only, which none of its own can have. List leaves them out.
	OtherFaults     []*v1alpha1.NetworkFault
	OtherTopologies []*v1alpha1.NetworkTopology
	// Unseen has a sentence for what may not be seen.
	Unseen []string
	// Unknown are those of Tidelay's kinds that the API server does not know.
	Unknown []string
	// LeaseEnd is when the Lease ends, or ended, by which a replica of the controller leads;
	// zero if that is not known.
	LeaseEnd time.Time
	// Blind is whether the TidbCluster or its pods may not be seen, so that nothing can be
	// judged.
	Blind bool
	// Veiled is whether some of its faults or topologies may not be seen, so that it is not
	// known what is asked for.
	Veiled bool
	// Hidden names what may not be read: "nodes", "NetworkFaults".
	Hidden []string
}

// Pod is a pod of a TidbCluster.
type Pod struct {
	*corev1.Pod
	// Facts are what decisions go by.
	Facts decide.Pod
}

// NotFound is the error that there is no such TidbCluster.
type NotFound struct {
	Key types.NamespacedName
	// There are the names of those that are there, as far as they can be listed.
	There []string
	// Elsewhere are the namespaces that have a TidbCluster of that name, as far as they can be
	// listed.
	Elsewhere []string
}

// Error names the TidbCluster that is missing, and where there is one of its name.
func (e *NotFound) Error() string {
	text := fmt.Sprintf("there is no TidbCluster %s in namespace %s", e.Key.Name, e.Key.Namespace)
	switch len(e.Elsewhere) {
	case 0:
		return text
	case 1:
		return fmt.Sprintf("%s; there is one in namespace %s: -n %[2]s", text, e.Elsewhere[0])
	default:
		return fmt.Sprintf("%s; there is one in each of the namespaces %s: -n %s", text, strings.Join(e.Elsewhere, ", "), e.Elsewhere[0])
	}
}

// IsNothing reports whether nothing is known of the TidbCluster: it may not be seen, and nothing
// that can be seen is of it. So there may be none of its name.
func (c *Cluster) IsNothing() bool {
	return c.Object == nil && len(c.Pods)+len(c.Faults)+len(c.Topologies) == 0
}

// IsAskedKnown reports whether it is known what the faults and topologies in force ask for.
func (c *Cluster) IsAskedKnown() bool { return !c.Blind && !c.Veiled && len(c.Unplaced()) == 0 }

// Unplaced returns the faults and topologies in force that LacksZones is true of.
func (c *Cluster) Unplaced() []client.Object {
	return slices.DeleteFunc(c.Objects(), func(o client.Object) bool { return object.Life(o).Phase != v1alpha1.Running || !c.LacksZones(o) })
}

// LacksZones reports whether it is not known whom an object is about, since it goes by the zones
// of nodes, and those may not be seen.
func (c *Cluster) LacksZones(o client.Object) bool {
	return slices.Contains(c.Hidden, nodes) && object.GoesByNodes(o)
}

// Zones returns the zone of each pod that is in one, by the pods' names: those into which the
// topology in force has put them, and by is its name. Without a topology they are those of the
// pods' nodes, and by is empty. Zones of both kinds are never mixed: they may share names.
func (c *Cluster) Zones() (zones map[string]string, by string) {
	zones = map[string]string{}
	for _, t := range c.Topologies {
		if t.Status.Phase != v1alpha1.Running {
			continue
		}
		by = t.Name
		for _, z := range t.Status.Zones {
			for _, pod := range z.Pods {
				zones[pod] = z.Name
			}
		}
	}
	if by != "" {
		return zones, by
	}
	for _, p := range c.Pods {
		if p.Facts.Zone != "" {
			zones[p.Name] = p.Facts.Zone
		}
	}
	return zones, ""
}

// Input returns what decisions go by, at a moment. What agents hold is not known.
func (c *Cluster) Input(now time.Time) decide.Input {
	in := decide.Input{Cluster: c.Object, Faults: slices.Clone(c.Faults), Topologies: slices.Clone(c.Topologies), Now: now}
	for _, p := range c.Pods {
		in.Pods = append(in.Pods, p.Facts)
	}
	return in
}

// InForce decides what agents are to hold of what is in force, and leaves out what would start
// only now.
func (c *Cluster) InForce(now time.Time) decide.Decision {
	in := c.Input(now)
	in.Faults = slices.DeleteFunc(in.Faults, func(f *v1alpha1.NetworkFault) bool { return f.Status.Phase != v1alpha1.Running })
	in.Topologies = slices.DeleteFunc(in.Topologies, func(t *v1alpha1.NetworkTopology) bool { return t.Status.Phase != v1alpha1.Running })
	return decide.Decide(in)
}

// Objects returns the faults and topologies, topologies first.
func (c *Cluster) Objects() []client.Object { return objects(c.Topologies, c.Faults) }

// InNamespace returns the faults and topologies of all TidbClusters of the namespace.
func (c *Cluster) InNamespace() []client.Object {
	return slices.Concat(c.Objects(), objects(c.OtherTopologies, c.OtherFaults))
}

func objects(topologies []*v1alpha1.NetworkTopology, faults []*v1alpha1.NetworkFault) []client.Object {
	var all []client.Object
	for _, t := range topologies {
		all = append(all, t)
	}
	for _, f := range faults {
		all = append(all, f)
	}
	return all
}

// Answering returns the pods whose agents run, as far as kubelet knows, so that they can be
// asked.
func (c *Cluster) Answering() []*corev1.Pod {
	var all []*corev1.Pod
	for _, p := range c.Pods {
		if agent, _ := injection.AgentOf(p.Pod); len(p.Facts.Addrs) > 0 && agent.Status.State.Running != nil {
			all = append(all, p.Pod)
		}
	}
	return all
}
