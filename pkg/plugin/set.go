package plugin

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/object"
)

// setFlags are the flags of set.
type setFlags struct {
	sides
	lasting
	writing
	jitter, loss, rate string
}

// newSet returns the verb set.
func (a *app) newSet() *cobra.Command {
	f := &setFlags{}
	cmd := verb("set CLUSTER [RTT] --from PODS [flags]", "Make packets between pods of a TidbCluster late, lost or few",
		`RTT is added to the round trip: 50ms, 1.5ms, 500us; a bare number is of milliseconds. With
--one-way it is the delay of packets from --from to --to.

The same TidbCluster, --from and --to again change the fault that is there, in place: set 50ms
and then 80ms adds 80ms. What is not given again is taken out.

  kubectl tidelay set basic 50ms --from tikv --to 'pd(leader)' --for 10m
  kubectl tidelay set basic 50ms --from 'tikv(random)' --jitter 5ms --dry-run
  kubectl tidelay set basic --loss 1% --from tidb --to tikv`, between(1, 2, "CLUSTER [RTT]"))
	f.sides.add(cmd.Flags())
	cmd.Flags().StringVar(&f.jitter, "jitter", "", "spreads the delay, of the round trip, or one way with --one-way")
	cmd.Flags().StringVar(&f.loss, "loss", "", "percent of packets that are lost, each way")
	cmd.Flags().StringVar(&f.rate, "rate", "", "capacity of each pod's link: 800kbit, 10mbit, 1.5gbit")
	f.lasting.add(cmd.Flags(), "10m")
	f.writing.add(cmd.Flags(), a.IsTerminal)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := f.sides.parse(args[0])
		if err != nil {
			return err
		}
		if err := f.impair(&spec, args[1:]); err != nil {
			return err
		}
		if spec.Duration, spec.Allow, err = f.lasting.parse(cmd.Flags()); err != nil {
			return err
		}
		spec.UntilDeleted = f.untilDeleted
		return a.put(cmd.Context(), args[0], wishFault(spec, f.name), &f.writing)
	}
	a.completeFault(cmd)
	return cmd
}

// impair fills in what happens to packets.
func (f *setFlags) impair(spec *v1alpha1.NetworkFaultSpec, rtt []string) error {
	if len(rtt) == 0 && f.loss == "" && f.rate == "" {
		return usage("nothing is asked for: want an RTT such as 50ms, or --loss or --rate")
	}
	if len(rtt) > 0 {
		delay, err := parseTime("RTT", rtt[0])
		if err != nil {
			return err
		}
		if f.oneWay {
			spec.Delay = delay
		} else {
			spec.RTT = delay
		}
	}
	if f.jitter != "" {
		if len(rtt) == 0 {
			return usage("--jitter %s spreads a delay: want an RTT with it", f.jitter)
		}
		var err error
		if spec.Jitter, err = parseTime("--jitter", f.jitter); err != nil {
			return err
		}
	}
	if f.loss != "" {
		percent, err := parsePercent("--loss", f.loss)
		if err != nil {
			return err
		}
		spec.Loss = &v1alpha1.Loss{Percent: &percent}
	}
	if f.rate != "" {
		if _, err := fault.ParseRate(f.rate); err != nil {
			return usage("--rate %q: %w", f.rate, err)
		}
		spec.Rate = &v1alpha1.Rate{PerSecond: f.rate}
	}
	return nil
}

// wishFault wishes for a NetworkFault; name is "" to have one made.
func wishFault(spec v1alpha1.NetworkFaultSpec, name string) wish {
	return func(seen *look.Cluster) ([]object.Asked, error) {
		one, err := object.AskFault(slices.Concat(seen.Faults, seen.OtherFaults), seen.Key.Namespace, name, spec)
		if err != nil {
			return nil, usage("%w", err)
		}
		return []object.Asked{one}, nil
	}
}
