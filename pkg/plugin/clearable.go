package plugin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/plugin/object"
)

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
	var shapes []string
	clusters = slices.Clone(clusters)
	for _, o := range there {
		all = append(all, ending{prefixOf(object.Kind(o)), o.GetName(), object.Life(o).What})
		if shape := object.ShapeOf(o); shape != "" && !slices.Contains(shapes, shape) {
			shapes = append(shapes, shape)
			all = append(all, ending{prefixShape, shape, "all faults of the shape"})
		}
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
