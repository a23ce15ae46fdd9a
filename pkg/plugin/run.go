package plugin

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/object"
)

// newRun returns the verb run.
func (a *app) newRun() *cobra.Command {
	w := writing{byFields: true}
	var show bool
	var words []string
	cmd := verb("run [CLUSTER PRESET] [flags]", "Run a preset: a fault or a topology that is ready to be used",
		`Without arguments it lists the presets. Each says what to expect of TiDB, and is one of
manifests/examples.

  kubectl tidelay run
  kubectl tidelay run basic pd-leader-slow --print
  kubectl tidelay run basic pd-leader-slow`, func(_ *cobra.Command, args []string) error {
			if len(args) == 1 || len(args) > 2 {
				return usage("want CLUSTER PRESET, or nothing to list the presets, and not %q", args)
			}
			return nil
		})
	cmd.Flags().BoolVar(&show, "print", false, "print it with its comment, as YAML or by --output, and do nothing")
	cmd.Flags().StringSliceVar(&words, "allow", nil, "rules of safety that it may break beside those that the preset allows: "+strings.Join(allowances(), ", "))
	w.add(cmd.Flags(), a.IsTerminal)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		allow, err := parseAllow(words)
		if err != nil {
			return err
		}
		all, err := object.Presets()
		if err != nil {
			return err
		}
		if len(args) == 0 {
			return a.listPresets(all)
		}
		p, err := choose(all, args[1])
		if err != nil {
			return err
		}
		if show {
			return a.printPreset(p, args[0], allow, &w)
		}
		return a.put(cmd.Context(), args[0], wishPreset(p, allow), &w)
	}
	a.completeRun(cmd)
	return cmd
}

// choose returns the preset of a name.
func choose(all []object.Preset, name string) (object.Preset, error) {
	var names []string
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return object.Preset{}, usage("there is no preset %q%s", name, meant(name, names))
}

func (a *app) listPresets(all []object.Preset) error {
	t := printers.GetNewTabWriter(a.Out)
	_, _ = fmt.Fprintln(t, "PRESET\tWHAT")
	for _, p := range all {
		_, _ = fmt.Fprintf(t, "%s\t%s\n", p.Name, p.What())
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write presets: %w", err)
	}
	return nil
}

// printPreset prints the object of a preset, with what is to be known of it, and what more it may
// break.
func (a *app) printPreset(p object.Preset, cluster string, allow []v1alpha1.Allowance, w *writing) error {
	if err := w.check(); err != nil {
		return err
	}
	namespace, err := a.namespace()
	if err != nil {
		return err
	}
	wanted, output, words := p.For(namespace, cluster), cmp.Or(w.output, "yaml"), a
	object.Allow(wanted, allow)
	if output != "yaml" { // which alone has comments
		words = a.aside()
	}
	for _, line := range p.Lines() {
		words.say("%s", line)
	}
	return printObjects(a.Out, []client.Object{wanted}, output)
}

// wishPreset wishes for the object of a preset, which may break more rules of safety.
func wishPreset(p object.Preset, allow []v1alpha1.Allowance) wish {
	return func(seen *look.Cluster) ([]object.Asked, error) {
		one, err := askPreset(seen, p.For(seen.Key.Namespace, seen.Key.Name), allow)
		if taken, is := errors.AsType[*object.Taken](err); is { // a preset's name can't be chosen
			return nil, usage("%s: clear it first", taken.What)
		}
		return []object.Asked{one}, err
	}
}

// askPreset asks for the object of a preset, and has it allow more. The error is an
// *object.Taken.
func askPreset(seen *look.Cluster, wanted client.Object, allow []v1alpha1.Allowance) (object.Asked, error) {
	object.Allow(wanted, allow)
	if t, is := wanted.(*v1alpha1.NetworkTopology); is {
		return object.AskTopology(slices.Concat(seen.Topologies, seen.OtherTopologies), t)
	}
	f := wanted.(*v1alpha1.NetworkFault)
	return object.AskFault(slices.Concat(seen.Faults, seen.OtherFaults), f.Namespace, f.Name, f.Spec)
}
