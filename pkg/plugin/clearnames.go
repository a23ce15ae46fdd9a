package plugin

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/plugin/object"
)

// What may be before a name and a slash.
const (
	prefixFault    = "fault"
	prefixTopology = "topology"
	prefixShape    = "shape"
	prefixCluster  = "cluster"
)

// choice is what is to be ended: objects, and all that some TidbClusters have.
type choice struct {
	objects  []client.Object
	clusters []string
}

// named returns what names mean, each once. clusters are the names of the TidbClusters that
// there are.
func named(there []client.Object, clusters, names []string, namespace string) (choice, error) {
	var all choice
	right := meaningful(there, clusters)
	for _, text := range names {
		prefix, name, hasPrefix := strings.Cut(text, "/")
		if !hasPrefix {
			prefix, name = "", text
		}
		means := meanings(there, clusters, name)
		kind, err := meaning(means, prefix, name, namespace, right)
		if err != nil {
			return choice{}, err
		}
		if kind == prefixCluster && !slices.Contains(all.clusters, name) {
			all.clusters = append(all.clusters, name)
		}
		for _, o := range means[kind] {
			if !slices.Contains(all.objects, o) {
				all.objects = append(all.objects, o)
			}
		}
	}
	return all, nil
}

// meanings returns the objects that a name can mean, by what can be before it.
func meanings(there []client.Object, clusters []string, name string) map[string][]client.Object {
	all := map[string][]client.Object{}
	if slices.Contains(clusters, name) {
		all[prefixCluster] = []client.Object{}
	}
	for _, o := range there {
		if kind := prefixOf(object.Kind(o)); o.GetName() == name {
			all[kind] = append(all[kind], o)
		}
		if shape := object.ShapeOf(o); shape != "" && shape == name {
			all[prefixShape] = append(all[prefixShape], o)
		}
		if object.Cluster(o) == name {
			all[prefixCluster] = append(all[prefixCluster], o)
		}
	}
	return all
}

// meaningful returns all names that mean something.
func meaningful(there []client.Object, clusters []string) []string {
	all := slices.Clone(clusters)
	for _, o := range there {
		all = append(all, o.GetName())
		if shape := object.ShapeOf(o); shape != "" && !slices.Contains(all, shape) {
			all = append(all, shape)
		}
	}
	return all
}

func prefixOf(kind string) string {
	if kind == object.Topology {
		return prefixTopology
	}
	return prefixFault
}

// meaning returns which kind of what a name can mean it means. right are all names.
func meaning(means map[string][]client.Object, prefix, name, namespace string, right []string) (string, error) {
	prefixes := []string{prefixFault, prefixShape, prefixTopology, prefixCluster}
	if prefix != "" {
		of, _, _ := strings.Cut(prefix, ".") // networkfault.tidelay.io, as -o name prints it
		of = strings.TrimPrefix(of, "network")
		if !slices.Contains(prefixes, of) {
			return "", usage("%s/%s: want fault/NAME, topology/NAME, shape/NAME or cluster/NAME", prefix, name)
		}
		prefixes = []string{of}
	}
	var found []string
	for _, one := range prefixes {
		if means[one] != nil {
			found = append(found, one)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		if len(right) == 0 {
			return "", fmt.Errorf("there is no %s in namespace %s, and no other fault, topology or TidbCluster", name, namespace)
		}
		return "", fmt.Errorf("there is no fault, topology or TidbCluster %s in namespace %s%s", name, namespace, meant(name, right))
	default:
		for i := range found {
			found[i] += "/" + name
		}
		return "", usage("%s means more than one: want %s", name, strings.Join(found, " or "))
	}
}
