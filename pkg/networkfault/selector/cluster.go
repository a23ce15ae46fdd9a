package selector

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Pod is what a selector needs to know of a pod.
type Pod struct {
	Name      string
	Component tidbcluster.Component
	// Zone is that of the pod's node; empty if the node has none, or is not known.
	Zone string
}

// ordinal returns the number at the end of the name of a StatefulSet's pod.
func (p Pod) ordinal() (number uint64, ok bool) {
	if p.Component == tidbcluster.Discovery {
		return 0, false
	}
	dash := strings.LastIndexByte(p.Name, '-')
	number, err := strconv.ParseUint(p.Name[dash+1:], 10, 31)
	return number, err == nil && dash >= 0
}

// Cluster is what a selector needs to know of a TidbCluster. The order of its pods
// means nothing.
type Cluster struct {
	Pods  []Pod
	Roles Roles
}

// component returns the pods of a component in a zone, or in all zones if that is "".
func (c Cluster) component(component tidbcluster.Component, zone string) []Pod {
	return c.pods(func(p Pod) bool { return p.Component == component && p.isIn(zone) })
}

func (p Pod) isIn(zone string) bool { return zone == "" || p.Zone == zone }

// pods returns the pods that meet a condition, by name.
func (c Cluster) pods(condition func(Pod) bool) []Pod {
	var all []Pod
	for _, p := range c.Pods {
		if condition(p) {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b Pod) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
