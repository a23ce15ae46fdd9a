package compile

import (
	"strings"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Topology is what is between the zones of a TidbCluster.
type Topology struct {
	// Zones has the zone of each pod, by the pod's name. Pods that are missing meet nothing
	// of the topology. So do ranges outside the cluster.
	Zones map[string]string
	// Links are what packets from a pod of one zone to a pod of another meet, or of the same
	// one. What is zero or missing is nothing. A link holds for its own way only: one that is
	// alike in both ways is there twice.
	//
	// Delay and Jitter are of the round trip and halved, the odd microsecond goes to packets
	// whose sender's zone is first by name, within a zone to those whose sender is. A Rate is
	// one link of each pod to all pods of the zone.
	// Partition is false.
	Links map[Way]fault.Impairment
}

// Way is from one zone to another, or within one.
type Way struct{ From, To string }

// topologyPrefix can't begin the name of a NetworkFault.
const topologyPrefix = "topology/"

// TopologyKey returns the name of the object of a NetworkTopology. A NetworkFault's is that
// of the NetworkFault.
func TopologyKey(name string) string { return topologyPrefix + name }

// CutTopologyKey returns the name of the NetworkTopology that an object is of, or reports
// that it is not of one. Then the name is the NetworkFault's.
func CutTopologyKey(object string) (name string, isTopology bool) {
	return strings.CutPrefix(object, topologyPrefix)
}

// zone is a zone, with the links from it.
type zone struct{ to map[*zone]*link }

// link is what is between two zones, one way.
type link struct {
	Way
	// roundTrip is what is halved.
	roundTrip fault.Impairment
	// isOdd is whether the half depends on which of the pods is first by name.
	isOdd bool
}

// half returns what a packet meets of which the sender is first by name or not.
func (l *link) half(isFirst bool) fault.Impairment {
	if l.From != l.To {
		isFirst = l.From < l.To
	}
	return halved(l.roundTrip, isFirst)
}

// linkTo returns the link from a zone to another; nil for none. Either may be nil.
func (z *zone) linkTo(other *zone) *link {
	if z == nil {
		return nil
	}
	return z.to[other]
}

// zonesOfPods returns the zone of each pod.
func (t *Topology) zonesOfPods() map[string]*zone {
	named, ofPods := make(map[string]*zone), make(map[string]*zone)
	for pod, name := range t.Zones {
		if named[name] == nil {
			named[name] = &zone{to: make(map[*zone]*link)}
		}
		ofPods[pod] = named[name]
	}
	for way, i := range t.Links {
		if from, to := named[way.From], named[way.To]; from != nil && to != nil && !i.IsZero() {
			from.to[to] = &link{Way: way, roundTrip: i, isOdd: way.From == way.To && IsOdd(i)}
		}
	}
	return ofPods
}
