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
	right := endings(there, clusters)
	for _, text := range names {
		prefix, name, hasPrefix := strings.Cut(text, "/")
		if !hasPrefix {
			prefix, name = "", text
		}
		if name == "" {
			return choice{}, usage("NAME %q: want the name of a fault, a topology or a TidbCluster", text)
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

func prefixOf(kind string) string {
	if kind == object.Topology {
		return prefixTopology
	}
	return prefixFault
}

// absent is the error that nothing has a name.
type absent struct {
	// what it would be: "fault, topology or TidbCluster basic".
	what, namespace string
	// others ends the sentence with what may be meant.
	others string
}

// Error names what is missing, and what can be ended instead.
func (a *absent) Error() string {
	return fmt.Sprintf("there is no %s in namespace %s%s", a.what, a.namespace, a.others)
}

// meaning returns which kind of what a name can mean it means. right is all that can be meant.
func meaning(means map[string][]client.Object, prefix, name, namespace string, right []ending) (string, error) {
	kinds := []string{prefixFault, prefixShape, prefixTopology, prefixCluster}
	if prefix != "" {
		of, _, _ := strings.Cut(prefix, ".") // networkfault.tidelay.io, as -o name prints it
		of = strings.TrimPrefix(of, "network")
		if !slices.Contains(kinds, of) {
			return "", wrongKind(prefix, name, nearest(of, kinds))
		}
		kinds = []string{of}
	}
	var found []string
	for _, one := range kinds {
		if means[one] != nil {
			found = append(found, one)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		what := "fault, topology or TidbCluster " + name
		if prefix != "" {
			what = kinds[0] + "/" + name
		}
		right = slices.DeleteFunc(slices.Clone(right), func(e ending) bool { return !slices.Contains(kinds, e.kind) })
		return "", &absent{what, namespace, others(name, right)}
	default:
		for i := range found {
			found[i] += "/" + name
		}
		return "", usage("%s means more than one: want %s", name, strings.Join(found, " or "))
	}
}

// wrongKind is what a name is told that has no kind before its slash. near are those that may
// be meant.
func wrongKind(prefix, name string, near []string) error {
	if len(near) == 0 {
		return usage("%s/%s: want fault/NAME, topology/NAME, shape/NAME or cluster/NAME", prefix, name)
	}
	for i := range near {
		near[i] += "/" + name
	}
	return usage("%s/%s; did you mean %s?", prefix, name, strings.Join(near, " or "))
}
