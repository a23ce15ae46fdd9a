package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/table"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// List is how some TidbClusters are, in a line each.
type List struct {
	Clusters []Line `json:"clusters"`
	// Problems are what is missing or too old, and Unseen has a sentence for what the person
	// who asks may not see.
	Problems []string `json:"problems,omitempty"`
	Unseen   []string `json:"unseen,omitempty"`
}

// Line is how a TidbCluster is.
type Line struct {
	Namespace string `json:"namespace"`
	Cluster   string `json:"cluster"`
	// Inject is whether it asks for agents; null if that may not be seen.
	Inject *bool `json:"inject"`
	// Pods is how many pods it has, and Agents in how many of them an agent runs, as far as
	// kubelet knows.
	Pods   int `json:"pods"`
	Agents int `json:"agents"`
	// Faults and Topologies are the names of those in force.
	Faults     []string `json:"faults"`
	Topologies []string `json:"topologies"`
	// Others is how many faults and topologies are not in force.
	Others int `json:"others"`
}

// ListOf reports what is known of some TidbClusters.
func ListOf(all *look.All) List {
	l := List{Clusters: []Line{}, Unseen: all.Unseen, Problems: Missing(all.Unknown)}
	for _, c := range all.Clusters {
		one := Line{Namespace: c.Key.Namespace, Cluster: c.Key.Name, Pods: len(c.Pods), Agents: len(c.Answering()), Faults: []string{}, Topologies: []string{}}
		if c.Object != nil {
			one.Inject = new(tidbcluster.ParseOptIn(c.Object.Annotations).Inject)
		}
		for _, t := range c.Topologies {
			one.Topologies = one.add(one.Topologies, t.Name, t.Status.Phase)
		}
		for _, f := range c.Faults {
			one.Faults = one.add(one.Faults, f.Name, f.Status.Phase)
		}
		l.Clusters = append(l.Clusters, one)
	}
	return l
}

// add adds the name of an object that is in force, and counts one that is not.
func (l *Line) add(names []string, name string, phase v1alpha1.Phase) []string {
	if phase == v1alpha1.Running {
		return append(names, name)
	}
	l.Others++
	return names
}

// Write writes the list for people, with namespaces if it is of all of them.
func (l *List) Write(w io.Writer, namespace string, style table.Style) error {
	return written(w, func(line table.Line) {
		for _, text := range l.Problems {
			line("%s", style.Bad("problem: "+text))
		}
		for _, text := range l.Unseen {
			line("%s", text)
		}
		switch {
		case len(l.Clusters) == 0 && len(l.Unseen) > 0:
			return
		case len(l.Clusters) == 0 && namespace == "":
			line("no TidbClusters")
			return
		case len(l.Clusters) == 0:
			line("no TidbClusters in namespace %s", namespace)
			return
		}
		head, isAll := "CLUSTER\tINJECT\tAGENTS\tTOPOLOGY\tFAULTS\tNOT IN FORCE", namespace == ""
		if isAll {
			head = "NAMESPACE\t" + head
		}
		line("%s", head)
		for _, c := range l.Clusters {
			text := fmt.Sprintf("%s\t%s\t%d/%d\t%s\t%s\t%d", c.Cluster, c.inject(), c.Agents, c.Pods, table.Dash(strings.Join(c.Topologies, ",")), some(c.Faults), c.Others)
			if isAll {
				text = c.Namespace + "\t" + text
			}
			line("%s", text)
		}
	})
}

func (l *Line) inject() string {
	switch {
	case l.Inject == nil:
		return "?"
	case *l.Inject:
		return "yes"
	default:
		return "no"
	}
}

// some returns names, or how many there are if those are too wide.
func some(names []string) string {
	if text := table.Dash(strings.Join(names, ",")); len(text) <= maxNames {
		return text
	}
	return fmt.Sprint(len(names))
}
