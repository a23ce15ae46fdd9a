package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/plugin/object"
)

// newClear returns the verb clear.
func (a *app) newClear() *cobra.Command {
	c := clearing{app: a}
	cmd := verb("clear (NAME... | --all) [flags]", "End faults and topologies",
		`NAME is that of a fault, of a topology, of a shape that is several faults, or of a TidbCluster,
for all that it has. --all is for all of the namespace, and ends faults that were set by hand at
agents too. Where two have one name, write fault/NAME, topology/NAME, shape/NAME or cluster/NAME.

The objects are deleted, and the controller tells the agents. Where nothing of a TidbCluster
stays, the agents are told from here too, through the API server: so it works without the
controller, and takes the rights to get, update and delete pods/proxy. What nobody can tell an
agent ends there by itself, at the latest 5 minutes later, but for what was set by hand.

  kubectl tidelay clear basic-tikv-to-pd-leader
  kubectl tidelay clear basic
  kubectl tidelay clear --all

Exit status 1 says that something may still be in force.`, nil)
	cmd.Flags().BoolVar(&c.isAll, "all", false, "all of the namespace, and what was set by hand")
	cmd.Flags().BoolVar(&c.dryRun, "dry-run", false, "say what would be ended, and do nothing")
	cmd.Flags().BoolVar(&c.wait, "wait", a.IsTerminal, "wait until agents hold nothing of it (default true at a terminal)")
	cmd.Flags().DurationVar(&c.timeout, "timeout", 30*time.Second, "how long to wait")
	cmd.Flags().Lookup("wait").DefValue = "false" // else it is another one in a pipe
	cmd.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case c.isAll == (len(args) > 0):
			return usage("want either names, or --all")
		case c.timeout <= 0:
			return usage("--timeout %s: want more than 0s", c.timeout)
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var err error
		if c.connection, c.namespace, err = a.connect(); err != nil {
			return err
		}
		return c.run(cmd.Context(), args)
	}
	a.completeClear(cmd)
	return cmd
}

// clearing is the verb clear with its flags.
type clearing struct {
	*app
	connection          *Connection
	namespace           string
	isAll, dryRun, wait bool
	timeout             time.Duration
	// hasFailed is whether something may still be in force.
	hasFailed bool
}

// Why it has failed, when all causes have been told.
var (
	errInForce = errors.New("something may still be in force, as told above")
	errUnknown = errors.New("something more may be in force, as told above")
)

// fail tells a failure. Ending goes on after it.
func (c *clearing) fail(format string, args ...any) {
	c.hasFailed = true
	_, _ = fmt.Fprintf(c.ErrOut, format+"\n", args...)
}

// run ends all that it can.
func (c *clearing) run(ctx context.Context, names []string) error {
	there, unseen := objectsOf(ctx, c.connection, c.namespace)
	pods, err := c.pods(ctx)
	clusters := pods.clusters()
	if !c.isAll {
		clusters = c.clusters(ctx, pods)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: nothing was ended", errInterrupted)
	}
	if unseen != nil {
		c.fail("%v", unseen)
	}
	switch {
	case apierrors.IsForbidden(err) && !c.isAll:
		c.say("you may not list pods, so agents can't be told: the controller tells them, and without it they let go by themselves, at the latest in 5 minutes")
	case err != nil:
		c.fail("%v; so agents can't be told", err)
	}
	chosen := choice{objects: there, clusters: clusters}
	if !c.isAll {
		if chosen, err = named(there, clusters, names, c.namespace); err != nil {
			return c.unsure(err)
		}
	}
	chosen.objects = c.delete(ctx, chosen.objects)
	whole, parts := parted(there, chosen, unseen == nil)
	c.end(ctx, pods.of(whole))
	c.endParts(ctx, parts)
	switch {
	case c.hasFailed && c.dryRun:
		return errUnknown
	case c.hasFailed:
		return errInForce
	}
	return nil
}

// unsure returns the error of a name that nothing has as one that nobody can know, where not
// all could be read.
func (c *clearing) unsure(err error) error {
	missing, is := errors.AsType[*absent](err)
	if !is || !c.hasFailed {
		return err
	}
	return fmt.Errorf("it is not known whether there is a %s in namespace %s, as told above: something may be in force, and nothing was ended", missing.what, missing.namespace)
}

// objectsOf returns the faults and topologies of a namespace, topologies first: those that it
// can, with an error for the others.
func objectsOf(ctx context.Context, c client.Reader, namespace string) ([]client.Object, error) {
	var topologies v1alpha1.NetworkTopologyList
	var faults v1alpha1.NetworkFaultList
	var failed error
	for kind, list := range map[string]client.ObjectList{"NetworkTopologies": &topologies, "NetworkFaults": &faults} {
		// Of a kind that the API server does not know there are none.
		if err := c.List(ctx, list, client.InNamespace(namespace)); err != nil && !apierrors.IsNotFound(err) {
			failed = errors.Join(failed, fmt.Errorf("list %s: %w", kind, err))
		}
	}
	var all []client.Object
	for i := range topologies.Items {
		all = append(all, &topologies.Items[i])
	}
	for i := range faults.Items {
		all = append(all, &faults.Items[i])
	}
	return all, failed
}

// delete deletes objects, and returns those that are gone then, or would be.
func (c *clearing) delete(ctx context.Context, objects []client.Object) (gone []client.Object) {
	if len(objects) == 0 && !c.hasFailed {
		c.say("no faults and no topologies")
	}
	done, to := "cleared", writer{Client: c.connection}
	if c.dryRun {
		done, to.Client = "would be cleared", client.NewDryRunClient(c.connection)
	}
	for _, o := range objects {
		if err := to.delete(ctx, o); err != nil {
			c.fail("%v", err)
			continue
		}
		c.say("%s %s %s; it was %s", object.Kind(o), o.GetName(), done, was(object.Life(o)))
		gone = append(gone, o)
	}
	return gone
}

// parted returns the TidbClusters of which all is to be ended, and those that were chosen of the
// others. Where not all is seen of what is there, the TidbCluster of an object may have others.
func parted(there []client.Object, chosen choice, isAllSeen bool) (whole []string, parts []client.Object) {
	whole = slices.Clone(chosen.clusters)
	for _, o := range chosen.objects {
		cluster := object.Cluster(o)
		isLeft := func(one client.Object) bool { // what has ended never comes back
			return object.Cluster(one) == cluster && object.Life(one).Phase != v1alpha1.Ended && !slices.Contains(chosen.objects, one)
		}
		switch {
		case slices.Contains(whole, cluster):
		case !isAllSeen || slices.ContainsFunc(there, isLeft):
			parts = append(parts, o)
		default:
			whole = append(whole, cluster)
		}
	}
	return whole, parts
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
