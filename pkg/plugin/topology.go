package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/matrix"
	"github.com/tidelay/tidelay/pkg/networkfault/profile"
	"github.com/tidelay/tidelay/pkg/networkfault/zone"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/object"
)

// topologyFlags are the flags of topology.
type topologyFlags struct {
	lasting
	writing
	profile, matrix, zoneKey string
	spread                   int32
}

// newTopology returns the verb topology.
func (a *app) newTopology() *cobra.Command {
	f := &topologyFlags{}
	cmd := verb("topology CLUSTER (--profile NAME | --matrix FILE.csv) [flags]", "Make the zones of a TidbCluster as far apart as places are",
		`The zones are those of the pods' nodes, by their label topology.kubernetes.io/zone or
--zone-key; or with --spread the pods are dealt out by their numbers to zones a, b, c.

A profile has round trips by a name. A matrix is a CSV file of round trips in milliseconds, as a
list (from,to,rtt_ms) or as a square table; its zones are named as those of the TidbCluster.

  kubectl tidelay topology basic --profile three-az --spread 3 --for 2h
  kubectl tidelay topology basic --matrix regions.csv --zone-key topology.kubernetes.io/region`, exactly(1, "CLUSTER"))
	cmd.Flags().StringVar(&f.profile, "profile", "", "round trips by a name: "+fmt.Sprint(profile.Names()))
	cmd.Flags().StringVar(&f.matrix, "matrix", "", "file with round trips between zones, as CSV; - for standard input")
	cmd.Flags().Int32Var(&f.spread, "spread", 0, fmt.Sprintf("deal the pods out to so many zones, 2 to %d", zone.Max))
	cmd.Flags().StringVar(&f.zoneKey, "zone-key", "", "label of the nodes that is the zone (default topology.kubernetes.io/zone)")
	f.lasting.add(cmd.Flags(), "2h")
	f.writing.add(cmd.Flags(), a.IsTerminal)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := f.parse(args[0], func() ([]v1alpha1.Link, error) { return a.readMatrix(cmd.Context(), f.matrix) })
		if err != nil {
			return err
		}
		if spec.Duration, spec.Allow, err = f.lasting.parse(cmd.Flags()); err != nil {
			return err
		}
		spec.UntilDeleted = f.untilDeleted
		return a.put(cmd.Context(), args[0], wishTopology(spec, f.name), &f.writing)
	}
	a.completeTopology(cmd)
	return cmd
}

// parse returns a spec with the zones and what is between them. It reads the matrix if one is
// asked for.
func (f *topologyFlags) parse(cluster string, read func() ([]v1alpha1.Link, error)) (v1alpha1.NetworkTopologySpec, error) {
	spec := v1alpha1.NetworkTopologySpec{Cluster: cluster, Profile: f.profile, ZoneKey: f.zoneKey, Spread: f.spread, StartAfter: v1alpha1.StartAfterReady}
	switch {
	case (f.profile == "") == (f.matrix == ""):
		return spec, usage("want either --profile, one of %v, or --matrix with a CSV file: it says what is between the zones", profile.Names())
	case f.profile != "" && !slices.Contains(profile.Names(), f.profile):
		return spec, usage("--profile %q%s", f.profile, accepted(f.profile, profile.Names()))
	case f.spread != 0 && f.zoneKey != "":
		return spec, usage("--spread %d with --zone-key %s: want one of them", f.spread, f.zoneKey)
	case f.spread != 0 && (f.spread < 2 || f.spread > zone.Max):
		return spec, usage("--spread %d: want 2 to %d zones", f.spread, zone.Max)
	}
	if f.matrix != "" {
		var err error
		if spec.Links, err = read(); err != nil {
			return spec, err
		}
	}
	if _, err := zone.Parse(&spec); err != nil {
		return spec, usage("%s", f.typed(err.Error()))
	}
	return spec, nil
}

// readMatrix reads what is between zones from a file.
func (a *app) readMatrix(ctx context.Context, path string) ([]v1alpha1.Link, error) {
	content, err := a.readFile(ctx, path)
	switch {
	case errors.Is(err, errInterrupted):
		return nil, err
	case err != nil:
		return nil, usage("--matrix: %w", err)
	}
	read, err := matrix.Read(bytes.NewReader(content))
	if err != nil {
		return nil, usage("--matrix %s: %w", path, err)
	}
	return read.Links, nil
}

// wishTopology wishes for a NetworkTopology; name is "" for the one of the TidbCluster.
func wishTopology(spec v1alpha1.NetworkTopologySpec, name string) wish {
	return func(seen *look.Cluster) ([]object.Asked, error) {
		if name == "" {
			name = object.Label(spec.Cluster + "-topology")
		}
		one, err := object.AskTopology(slices.Concat(seen.Topologies, seen.OtherTopologies), object.NewTopology(seen.Key.Namespace, name, spec))
		if err != nil {
			return nil, usage("%w", err)
		}
		return []object.Asked{one}, nil
	}
}
