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
		means := map[string][]client.Object{}
		if slices.Contains(clusters, name) {
			means[prefixCluster] = []client.Object{}
		}
		for _, o := range there {
			if kind := prefixOf(object.Kind(o)); o.GetName() == name {
				means[kind] = append(means[kind], o)
			}
			if object.Cluster(o) == name {
				means[prefixCluster] = append(means[prefixCluster], o)
			}
		}
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
	kinds := []string{prefixFault, prefixTopology, prefixCluster}
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
		return usage("%s/%s: want fault/NAME, topology/NAME or cluster/NAME", prefix, name)
	}
	for i := range near {
		near[i] += "/" + name
	}
	return usage("%s/%s; did you mean %s?", prefix, name, strings.Join(near, " or "))
}

// others ends a sentence about a name that nothing has with those near to it, or else with all,
// and what each would end: the name of a TidbCluster ends all that it has.
func others(name string, right []ending) string {
	if len(right) == 0 {
		return ", and no other one"
	}
	var names, words []string
	for _, e := range right {
		names = append(names, e.name)
	}
	near := nearest(name, names)
	for _, e := range right {
		if len(near) == 0 || slices.Contains(near, e.name) {
			words = append(words, e.String())
		}
	}
	if len(near) > 0 {
		return "; did you mean " + strings.Join(words, " or ") + "?"
	}
	return "; what can be cleared: " + strings.Join(words, ", ")
}

// ending is something that can be ended: its kind and name, and what that would end.
type ending struct{ kind, name, what string }

// String returns what can be written for it, and what that would end: "fault/slow (+50ms RTT)".
func (e ending) String() string {
	if e.what == "" {
		return e.kind + "/" + e.name
	}
	return fmt.Sprintf("%s/%s (%s)", e.kind, e.name, e.what)
}

// endings returns all that can be ended: objects, and then TidbClusters.
func endings(there []client.Object, clusters []string) []ending {
	var all []ending
	clusters = slices.Clone(clusters)
	for _, o := range there {
		all = append(all, ending{prefixOf(object.Kind(o)), o.GetName(), object.Life(o).What})
		clusters = append(clusters, object.Cluster(o))
	}
	slices.Sort(clusters)
	for _, name := range slices.Compact(clusters) {
		all = append(all, ending{prefixCluster, name, "all that the TidbCluster has"})
	}
	return all
}

// clearable are the words that can come next where some names are there: what objects and
// TidbClusters are called, with their kinds where that is to be told apart, or was begun with.
func clearable(there []client.Object, clusters, names []string, text string) []cobra.Completion {
	all := endings(there, clusters)
	count := map[string]int{}
	for _, o := range all {
		count[o.name]++
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
