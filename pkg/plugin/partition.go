package plugin

import "github.com/spf13/cobra"

// newPartition returns the verb partition.
func (a *app) newPartition() *cobra.Command {
	var f setFlags
	cmd := verb("partition CLUSTER --from PODS [--to PODS] [flags]", "Cut pods of a TidbCluster off from others",
		`No packet passes between both sides, or with --one-way none from --from to --to. Pods of one
side still reach each other.

  kubectl tidelay partition basic --from 'pd(leader)' --to 'pd(follower)' --for 2m
  kubectl tidelay partition basic --from 'tikv(random)'`, exactly(1, "CLUSTER"))
	f.sides.add(cmd.Flags())
	f.lasting.add(cmd.Flags(), "2m")
	f.writing.add(cmd.Flags(), a.IsTerminal)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := f.sides.parse(args[0])
		if err != nil {
			return err
		}
		spec.Partition = true
		if spec.Duration, spec.Allow, err = f.lasting.parse(cmd.Flags()); err != nil {
			return err
		}
		spec.UntilDeleted = f.untilDeleted
		return a.put(cmd.Context(), args[0], wishFault(spec, f.name), &f.writing)
	}
	a.completeFault(cmd)
	return cmd
}
