package plugin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
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

// meaningful returns all names that mean something, by kind.
func meaningful(there []client.Object, clusters []string) map[string][]string {
	all := map[string][]string{prefixCluster: slices.Clone(clusters)}
	for _, o := range there {
		kind := prefixOf(object.Kind(o))
		all[kind] = append(all[kind], o.GetName())
		if shape := object.ShapeOf(o); shape != "" {
			all[prefixShape] = append(all[prefixShape], shape)
		}
		all[prefixCluster] = append(all[prefixCluster], object.Cluster(o))
	}
	return all
}

func prefixOf(kind string) string {
	if kind == object.Topology {
		return prefixTopology
	}
	return prefixFault
}

// meaning returns which kind of what a name can mean it means. right are all names, by kind.
func meaning(means map[string][]client.Object, prefix, name, namespace string, right map[string][]string) (string, error) {
	kinds := []string{prefixFault, prefixShape, prefixTopology, prefixCluster}
	if prefix != "" {
		of, _, _ := strings.Cut(prefix, ".") // networkfault.tidelay.io, as -o name prints it
		of = strings.TrimPrefix(of, "network")
		if !slices.Contains(kinds, of) {
			return "", wrongKind(prefix, name, nearest(of, kinds))
		}
		kinds = []string{of}
	}
	var found, others []string
	for _, one := range kinds {
		if means[one] != nil {
			found = append(found, one)
		}
		others = append(others, right[one]...)
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		what := "fault, topology or TidbCluster " + name
		if prefix != "" {
			what = kinds[0] + "/" + name
		}
		if len(others) == 0 {
			return "", fmt.Errorf("there is no %s in namespace %s, and no other one", what, namespace)
		}
		slices.Sort(others)
		return "", fmt.Errorf("there is no %s in namespace %s%s", what, namespace, meant(name, slices.Compact(others)))
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

// clearable are the words that can come next where some names are there: what objects and
// TidbClusters are called, with their kinds where that is to be told apart, or was begun with.
func clearable(there []client.Object, clusters, names []string, text string) []cobra.Completion {
	type one struct{ kind, name, what string }
	var all []one
	count := map[string]int{}
	add := func(kind, name, what string) {
		all = append(all, one{kind, name, what})
		count[name]++
	}
	var shapes []string
	for _, o := range there {
		add(prefixOf(object.Kind(o)), o.GetName(), object.Life(o).What)
		if shape := object.ShapeOf(o); shape != "" && !slices.Contains(shapes, shape) {
			shapes = append(shapes, shape)
			add(prefixShape, shape, "all faults of the shape")
		}
		clusters = append(slices.Clip(clusters), object.Cluster(o))
	}
	slices.Sort(clusters)
	for _, name := range slices.Compact(clusters) {
		add(prefixCluster, name, "all that the TidbCluster has")
	}
	var words []cobra.Completion
	for _, o := range all {
		word := o.name
		if count[o.name] > 1 || strings.Contains(text, "/") {
			word = o.kind + "/" + o.name
		}
		if !slices.Contains(names, word) {
			words = append(words, cobra.CompletionWithDesc(word, o.what))
		}
	}
	return words
}
