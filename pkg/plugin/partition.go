package plugin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/selector"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/object"
	"github.com/tidelay/tidelay/pkg/plugin/shape"
)

// partitionFlags are the flags of partition.
type partitionFlags struct {
	sides
	lasting
	writing
	shape, of string
}

// newPartition returns the verb partition.
func (a *app) newPartition() *cobra.Command {
	f := &partitionFlags{}
	cmd := verb("partition CLUSTER (--from PODS [--to PODS] | --shape SHAPE --of PODS) [flags]", "Cut pods of a TidbCluster off from others",
		`With --from and --to no packet passes between both sides, or with --one-way none from --from to
--to. Pods of one side still reach each other.

With --shape the pods that --of picks now are cut off from one another, in the order of their
names, and from nobody else. The shapes are Jepsen's:

  halves    two groups; of an odd number the first one has one pod less
  bridge    halves, but the pod in the middle reaches everybody
  ring      each pod reaches a majority, and no two the same: its neighbours in a ring; from 4
            pods on, and of 3 a bridge does that
  isolate   the first pod is cut off from the others. Where --of picks one pod alone, as
            'pd(leader)' does, it is cut off from the others of its component

A ring is several NetworkFaults, NAME-1 and so on, of which all or none are written. To end
them all: kubectl tidelay clear NAME.

  kubectl tidelay partition basic --from 'pd(leader)' --to 'pd(follower)' --for 2m
  kubectl tidelay partition basic --from 'tikv(random)'
  kubectl tidelay partition basic --shape bridge --of tikv --for 5m
  kubectl tidelay partition basic --shape isolate --of 'pd(leader)'`, exactly(1, "CLUSTER"))
	f.sides.add(cmd.Flags())
	cmd.Flags().StringVar(&f.shape, "shape", "", "cut the pods of --of off from one another: "+strings.Join(shape.Names(), ", "))
	cmd.Flags().StringVar(&f.of, "of", "", "the pods that --shape is of, as --from")
	f.lasting.add(cmd.Flags(), "2m")
	f.writing.add(cmd.Flags(), a.IsTerminal)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		make, err := f.parse(args[0], cmd.Flags())
		if err != nil {
			return err
		}
		return a.put(cmd.Context(), args[0], make, &f.writing)
	}
	a.completePartition(cmd)
	return cmd
}

// parse returns the wish for what the flags say.
func (f *partitionFlags) parse(cluster string, flags *pflag.FlagSet) (wish, error) {
	isShape, err := f.isShape(flags)
	if err != nil {
		return nil, err
	}
	read := f.sides.parse
	if isShape {
		read = f.packets
	}
	spec, err := read(cluster)
	if err != nil {
		return nil, err
	}
	if spec.Duration, spec.Allow, err = f.lasting.parse(flags); err != nil {
		return nil, err
	}
	spec.Partition, spec.UntilDeleted = true, f.untilDeleted
	if isShape {
		return f.wishShape(spec)
	}
	return wishFault(spec, f.name), nil
}

// isShape reports whether a shape is asked for, and not two sides.
func (f *partitionFlags) isShape(flags *pflag.FlagSet) (bool, error) {
	if !flags.Changed("shape") && !flags.Changed("of") {
		if f.from == "" {
			return false, usage("want either --from, the pods on one side, or --shape with --of, such as --shape halves --of tikv")
		}
		return false, nil
	}
	for _, other := range []string{"from", "to", "one-way", "ports"} {
		if flags.Changed(other) {
			return false, usage("--%s with --shape or --of: want either --from with --to, --one-way and --ports, or --shape with --of", other)
		}
	}
	switch {
	case f.shape == "":
		return false, usage("--of %s without --shape: want a shape with it, one of %s", f.of, strings.Join(shape.Names(), ", "))
	case !slices.Contains(shape.Names(), f.shape):
		return false, usage("--shape %q%s", f.shape, meant(f.shape, shape.Names()))
	case f.of == "":
		return false, usage("--shape %s without --of: want the pods that it is of, such as --of tikv", f.shape)
	}
	return true, nil
}

// wishShape wishes for the NetworkFaults of a shape.
func (f *partitionFlags) wishShape(spec v1alpha1.NetworkFaultSpec) (wish, error) {
	of, err := selector.Parse(f.of)
	if err != nil {
		return nil, wrongSide("--of", err)
	}
	for _, s := range of {
		if s.Others || s.CIDR.IsValid() {
			return nil, usage("--of %s: want pods of the TidbCluster, such as tikv, 'pd(follower)' or all", s)
		}
	}
	form := shape.Shape(f.shape)
	return func(seen *look.Cluster) ([]object.Asked, error) {
		specs, err := object.Shaped(spec, form, of, seen.Input(time.Time{}).Selectable())
		switch {
		case err != nil && len(seen.Unseen) > 0:
			return nil, fmt.Errorf("--of %s: %w; %s", f.of, err, strings.Join(seen.Unseen, "; "))
		case err != nil:
			return nil, fmt.Errorf("--of %s: %w", f.of, err)
		}
		asked, err := object.AskShape(slices.Concat(seen.Faults, seen.OtherFaults), seen.Key.Namespace, cmp.Or(f.name, object.ShapeName(spec.Cluster, form, of)), specs)
		if err != nil {
			return nil, usage("%w", err)
		}
		return asked, nil
	}, nil
}
