package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/plugin/object"
)

// newClear returns the verb clear.
func (a *app) newClear() *cobra.Command {
	var all, dryRun bool
	cmd := verb("clear (NAME... | --all) [flags]", "End faults and topologies",
		`NAME is that of a fault, of a topology, or of a TidbCluster, for all that it has. --all is for
all of the namespace. Where two have one name, write fault/NAME, topology/NAME or cluster/NAME.

Agents let go of a fault as soon as the controller tells them, and at the latest 5 minutes
later by themselves.

  kubectl tidelay clear basic-tikv-to-pd-leader
  kubectl tidelay clear basic
  kubectl tidelay clear --all`, nil)
	cmd.Flags().BoolVar(&all, "all", false, "all of the namespace")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be ended, and do nothing")
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if all == (len(args) > 0) {
			return usage("want either names, or --all")
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, namespace, err := a.connect()
		if err != nil {
			return err
		}
		there, err := objectsOf(cmd.Context(), c, namespace)
		if err != nil {
			return err
		}
		if !all {
			if there, err = chosen(there, args, namespace); err != nil {
				return err
			}
		}
		return a.clear(cmd.Context(), writer{c}, there, namespace, dryRun)
	}
	a.completeClear(cmd)
	return cmd
}

// objectsOf returns the faults and topologies of a namespace, topologies first.
func objectsOf(ctx context.Context, c client.Reader, namespace string) ([]client.Object, error) {
	var topologies v1alpha1.NetworkTopologyList
	var faults v1alpha1.NetworkFaultList
	for _, list := range []client.ObjectList{&topologies, &faults} {
		err := c.List(ctx, list, client.InNamespace(namespace))
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("list faults and topologies: the API server does not know them; is Tidelay's controller installed? %w", err)
		}
		if err != nil {
			return nil, fmt.Errorf("list faults and topologies: %w", err)
		}
	}
	var all []client.Object
	for i := range topologies.Items {
		all = append(all, &topologies.Items[i])
	}
	for i := range faults.Items {
		all = append(all, &faults.Items[i])
	}
	return all, nil
}

// What may be before a name and a slash.
const (
	prefixFault    = "fault"
	prefixTopology = "topology"
	prefixCluster  = "cluster"
)

// chosen returns the objects that names mean, each once.
func chosen(there []client.Object, names []string, namespace string) ([]client.Object, error) {
	var all []client.Object
	for _, text := range names {
		prefix, name, hasPrefix := strings.Cut(text, "/")
		if !hasPrefix {
			prefix, name = "", text
		}
		means := map[string][]client.Object{}
		for _, o := range there {
			if kind := prefixOf(object.Kind(o)); o.GetName() == name {
				means[kind] = append(means[kind], o)
			}
			if object.Cluster(o) == name {
				means[prefixCluster] = append(means[prefixCluster], o)
			}
		}
		some, err := meaning(means, prefix, name, namespace, there)
		if err != nil {
			return nil, err
		}
		for _, o := range some {
			if !slices.Contains(all, o) {
				all = append(all, o)
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

// meaning returns the one thing that a name means.
func meaning(means map[string][]client.Object, prefix, name, namespace string, there []client.Object) ([]client.Object, error) {
	prefixes := []string{prefixFault, prefixTopology, prefixCluster}
	if prefix != "" {
		of, _, _ := strings.Cut(prefix, ".") // networkfault.tidelay.io, as -o name prints it
		of = strings.TrimPrefix(of, "network")
		if !slices.Contains(prefixes, of) {
			return nil, usage("%s/%s: want fault/NAME, topology/NAME or cluster/NAME", prefix, name)
		}
		prefixes = []string{of}
	}
	var found []string
	for _, one := range prefixes {
		if len(means[one]) > 0 {
			found = append(found, one)
		}
	}
	switch len(found) {
	case 1:
		return means[found[0]], nil
	case 0:
		var right []string
		for _, o := range there {
			right = append(right, o.GetName())
		}
		if len(right) == 0 {
			return nil, fmt.Errorf("there is no %s in namespace %s, and no other fault or topology", name, namespace)
		}
		return nil, fmt.Errorf("there is no fault, topology or TidbCluster with any %s in namespace %s%s", name, namespace, meant(name, right))
	default:
		for i := range found {
			found[i] += "/" + name
		}
		return nil, usage("%s means more than one: want %s", name, strings.Join(found, " or "))
	}
}

// clear ends objects, as many as it can.
func (a *app) clear(ctx context.Context, w writer, all []client.Object, namespace string, dryRun bool) error {
	if len(all) == 0 {
		a.say("no faults and no topologies in namespace %s", namespace)
		return nil
	}
	done := "cleared"
	if dryRun {
		done = "would be cleared"
	}
	isInForce := false
	var failed error
	for _, o := range all {
		life := object.Life(o)
		if !dryRun {
			if err := w.delete(ctx, o); err != nil {
				if failed != nil {
					a.say("error: %v", failed)
				}
				failed = err
				continue
			}
		}
		a.say("%s %s %s; it was %s", object.Kind(o), o.GetName(), done, was(life))
		isInForce = isInForce || life.Phase == v1alpha1.Running
	}
	if isInForce && !dryRun {
		a.say("agents let go of what was in force as soon as the controller tells them, and at the latest in 5 minutes by themselves")
	}
	return failed
}

// was says what a life was until now.
func was(life *v1alpha1.Life) string {
	switch life.Phase {
	case "":
		return "not in force"
	case v1alpha1.Running:
		return fmt.Sprintf("in force at %s pods: %s", life.Applied, life.What)
	default:
		return strings.ToLower(string(life.Phase)) + ", " + life.Reason
	}
}
