package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/plugin/attach"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// attachFlags are the flags of attach.
type attachFlags struct {
	components []string
	image      string
	length     string
	namespace  string
	dryRun     bool
	wait       bool
	timeout    time.Duration
	output     string
}

func (f *attachFlags) add(flags *pflag.FlagSet, isTerminal bool) {
	flags.StringSliceVar(&f.components, "components", nil, "only to pods of these: pd,tikv (default all that the TidbCluster asks for)")
	flags.StringVar(&f.image, "image", "", "the agent's image (default the one that the injector adds to pods)")
	flags.StringVar(&f.length, "for", "1h", "longest life of a fault, after an agent got it: 90s, 10m, 1h30m; from 1s to 720h")
	flags.StringVar(&f.namespace, "tidelay-namespace", look.TidelayNamespace, "where the injector is, whose settings count")
	flags.BoolVar(&f.dryRun, "dry-run", false, "have the API server judge it, and do nothing")
	flags.BoolVar(&f.wait, "wait", isTerminal, "wait until the agents answer (default true at a terminal)")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long to wait")
	flags.StringVarP(&f.output, "output", "o", "", "print what is added to pods too: yaml, json or name")
	flags.Lookup("wait").DefValue = "false" // else it is another one in a pipe
}

// newAttach returns the verb attach.
func (a *app) newAttach() *cobra.Command {
	f := &attachFlags{}
	cmd := verb("attach CLUSTER [flags]", "Add the agent to running pods, restarting nothing",
		`Adds the agent as an ephemeral container to those pods that run without one. The right to do so
is "patch" on the subresource pods/ephemeralcontainers; the ClusterRole tidelay-attacher has it.

An attached agent is not as an injected one. It is never started again, and is there until its
pod is deleted; a pod that is made later is injected. When it ends, what it held by netem stays
in force: attach again then, and the new agent ends it or takes it over. It keeps nothing on disk,
its memory is the pod's, and it asks for no token: where the injector's settings have agents ask
for one, none is attached, and where you may not read them, that is said before anything is done.

So each fault that it gets ends within --for by itself. The controller sets the faults of a
NetworkFault again every minute, so that one lasts as long as it says.

  kubectl tidelay attach basic
  kubectl tidelay attach basic --components tikv,pd --for 30m --dry-run
  kubectl tidelay attach basic --image registry.example/tidelay/agent:v1`, exactly(1, "CLUSTER"))
	f.add(cmd.Flags(), a.IsTerminal)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		wish, err := f.parse()
		if err != nil {
			return err
		}
		return a.attach(cmd.Context(), args[0], wish, f)
	}
	a.completeAttach(cmd)
	return cmd
}

// parse returns what is asked for, without the settings of agents.
func (f *attachFlags) parse() (attach.Wish, error) {
	var wish attach.Wish
	var err error
	if wish.Longest, err = fault.ParseDuration(f.length); err != nil {
		return wish, usage("--for %q: %w", f.length, err)
	}
	for _, name := range f.components {
		component, err := tidbcluster.ParseComponent(name)
		if err != nil {
			return wish, usage("--components %q%s", name, meant(name, componentNames()))
		}
		wish.Components = append(wish.Components, component)
	}
	if f.image != "" && !injection.IsImage(f.image) {
		return wish, usage("--image %q: want an image such as registry.example/tidelay/agent:v1", f.image)
	}
	if f.timeout <= 0 {
		return wish, usage("--timeout %s: want more than 0s", f.timeout)
	}
	return wish, checkOutput(f.output, "yaml", "json", "name")
}

func componentNames() []string {
	var names []string
	for _, c := range tidbcluster.Components() {
		names = append(names, string(c))
	}
	return names
}

// attach attaches agents, or only says what that would do.
func (a *app) attach(ctx context.Context, cluster string, wish attach.Wish, f *attachFlags) error {
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	words := a
	if f.output != "" {
		words = a.aside()
	}
	plan, err := words.planAttach(ctx, c, types.NamespacedName{Namespace: namespace, Name: cluster}, wish, f)
	if errors.Is(err, attach.ErrProtected) {
		return &failure{statusRefused, fmt.Errorf("%w; nothing was changed", err)}
	}
	if err != nil {
		return fmt.Errorf("%w; nothing was changed", err)
	}
	steps := plan.With(attach.Attach)
	if len(steps) == 0 {
		words.say("nothing to attach")
	}
	if err := (writer{Client: c}).tryAttach(ctx, steps); err != nil {
		return fmt.Errorf("%w; nothing was changed", err)
	}
	if f.dryRun {
		words.say("dry run: nothing was changed")
		if err := a.encodeAttached(steps, f.output); err != nil {
			return err
		}
		return missing(plan, nil)
	}
	attached, failed, err := words.attachEach(ctx, writer{Client: c}, steps)
	// What is printed is what was written, also if that is not all.
	if err := errors.Join(err, a.encodeAttached(attached, f.output)); err != nil {
		return err
	}
	if f.wait && len(attached) > 0 {
		late, err := words.waitAttached(ctx, c, attached, f.timeout)
		if err != nil {
			return err
		}
		failed = append(failed, late...)
	}
	return missing(plan, failed)
}

// planAttach reads what is there, and says what is to be done.
func (a *app) planAttach(ctx context.Context, c *Connection, key types.NamespacedName, wish attach.Wish, f *attachFlags) (*attach.Plan, error) {
	seen, err := look.ReadPods(ctx, c, key)
	if err != nil {
		return nil, suggest(err)
	}
	injector, err := look.ReadInjector(ctx, c, f.namespace, a.Version)
	if err != nil {
		return nil, err
	}
	wish.Config, wish.IsKnown = injector.Config, injector.IsKnown
	if wish.Config.Image = cmp.Or(f.image, wish.Config.Image); wish.Config.Image == "" {
		return nil, fmt.Errorf("%s; name the image with --image", strings.Join(injector.Unseen, "; "))
	}
	if wish.PodSecurity, err = look.PodSecurity(ctx, c, key.Namespace); err != nil {
		return nil, err
	}
	plan, err := attach.Of(seen, wish)
	if err != nil {
		return nil, err
	}
	for _, text := range seen.Unseen {
		a.say("%s", text)
	}
	if !injector.IsKnown {
		a.say("settings of the injector: %s", injector.Source)
	}
	return plan, plan.Write(a.Out)
}

// attachEach attaches agents until ctx ends. It returns what was done, and the names of the pods
// for which that failed.
func (a *app) attachEach(ctx context.Context, w writer, steps []attach.Step) (attached []attach.Step, failed []string, err error) {
	for _, s := range steps {
		if ctx.Err() != nil {
			return attached, failed, fmt.Errorf("%w: agents were attached to %s, and stay", errInterrupted, tidbcluster.Plural(len(attached), "pod"))
		}
		if err := w.attach(ctx, s); err != nil {
			a.say("%s: %s", s.Pod.Name, a.Bad(err.Error()))
			failed = append(failed, s.Pod.Name)
			continue
		}
		a.say("%s: %s attached", s.Pod.Name, s.Container.Name)
		attached = append(attached, s)
	}
	return attached, failed, nil
}

// missing returns the error that pods go without an agent that works: those for which it
// failed, and those that can't have one.
func missing(plan *attach.Plan, failed []string) error {
	for _, s := range plan.With(attach.Impossible) {
		failed = append(failed, s.Pod.Name)
	}
	if len(failed) == 0 {
		return nil
	}
	slices.Sort(failed)
	return fmt.Errorf("%d of %d pods go without an agent that works: %s", len(failed), len(plan.Steps), joined(failed))
}
