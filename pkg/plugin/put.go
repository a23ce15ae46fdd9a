package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/plugin/container"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/object"
	"github.com/tidelay/tidelay/pkg/plugin/preview"
)

// wish makes the object that is asked for, by what is there. before is the one that is to be
// changed; nil for none.
type wish func(seen *look.Cluster) (wanted, before client.Object, err error)

// put writes an object, or only says what that would do.
func (a *app) put(ctx context.Context, cluster string, make wish, w *writing) error {
	if err := w.check(); err != nil {
		return err
	}
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	seen, err := a.look(ctx, c, types.NamespacedName{Namespace: namespace, Name: cluster})
	if err != nil {
		return err
	}
	if err := seen.Installed(); err != nil {
		return err
	}
	wanted, before, err := make(seen)
	if err != nil {
		return err
	}
	step, err := object.Plan(before, wanted, a.Now())
	if err != nil {
		return err
	}
	words := a
	if w.output != "" {
		words = a.aside()
	}
	if err := words.preview(seen, step, w); err != nil {
		return err
	}
	if w.dryRun {
		if err := words.try(ctx, c, step); err != nil {
			return err
		}
		words.say("dry run: nothing was changed")
		return printObject(a.Out, step.After, w.output)
	}
	return words.carryOut(ctx, writer{c}, step, w, a.Out)
}

// try has the API server judge a step, which changes nothing, and says what the person may not do.
// An object that has ended is still there, so that its creation can't be tried.
func (a *app) try(ctx context.Context, c client.Client, step object.Step) error {
	if step.Action == object.Replace {
		return nil
	}
	_, err := writer{client.NewDryRunClient(c)}.write(ctx, step)
	if !apierrors.IsForbidden(err) {
		return err
	}
	a.say("you may not %s %ss in namespace %s: this takes somebody who may", step.Action, object.Kind(step.After), step.After.GetNamespace())
	return nil
}

// look reads a TidbCluster. Where there is none of that name, the nearest one is told.
func (a *app) look(ctx context.Context, c client.Reader, key types.NamespacedName) (*look.Cluster, error) {
	seen, err := look.Read(ctx, c, key)
	return seen, suggest(err)
}

// suggest adds the nearest name to the error that there is no such TidbCluster.
func suggest(err error) error {
	missing, is := errors.AsType[*look.NotFound](err)
	if !is || len(nearest(missing.Key.Name, missing.There)) == 0 {
		return err
	}
	return fmt.Errorf("%w%s", err, meant(missing.Key.Name, missing.There))
}

// preview says what a step would do. The error says that it would be refused.
func (a *app) preview(seen *look.Cluster, step object.Step, w *writing) error {
	for _, text := range seen.Unseen {
		a.say("%s", text)
	}
	if seen.Blind {
		a.say("%s %s: not judged here; the controller judges it", object.Kind(step.After), step.After.GetName())
		return nil
	}
	p := preview.Of(seen.Input(a.Now()), step.After)
	p.Life.Message, p.Hidden = w.typed(p.Life.Message), seen.Hidden
	p.Down = down(seen, p.Holders)
	if step.Action == object.Change {
		if err := p.Compare(step.Before, func(field string) string { return w.typed("spec." + field) }); err != nil {
			return err
		}
	}
	if preview.IsInvalid(p.Life) {
		return refusal(p.Life, p.Broken, "nothing was changed")
	}
	if seen.LacksZones(step.After) {
		a.say("%s %s goes by the zones of nodes: not judged here; the controller judges it", object.Kind(step.After), step.After.GetName())
		return nil
	}
	if err := p.Write(a.Out); err != nil {
		return err
	}
	if p.Life.Phase == v1alpha1.Refused {
		return refusal(p.Life, p.Broken, "nothing was changed")
	}
	return nil
}

// down returns those of some pods whose agents don't run, as far as kubelet knows, each with how
// its agent is.
func down(seen *look.Cluster, pods []string) []string {
	var all []string
	for _, p := range seen.Pods {
		if agent, _ := container.Of(p.Pod); slices.Contains(pods, p.Name) && agent.Phase() == container.Down {
			all = append(all, fmt.Sprintf("%s (%s)", p.Name, agent.Word()))
		}
	}
	return all
}

// refusal is the error that an object is refused, and what became of that. The message of the
// refusal has been told, but for what can't be meant. broken are the rules of safety that refuse
// it, as far as they are known beside the reason.
func refusal(life v1alpha1.Life, broken []v1alpha1.Allowance, so string) error {
	if len(broken) == 0 {
		broken = []v1alpha1.Allowance{v1alpha1.Allowance(life.Reason)}
	}
	switch {
	case preview.IsUnsafe(life) && life.Reason == decide.ReasonProtected:
		return &failure{statusRefused, fmt.Errorf("refused by %s; %s", life.Reason, so)}
	case preview.IsUnsafe(life):
		return &failure{statusRefused, errors.New(preview.Refusal(broken, so))}
	case preview.IsInvalid(life):
		return usage("%s; %s", strings.TrimRight(preview.Message(life), "."), so)
	default:
		return fmt.Errorf("refused: %s; %s", life.Reason, so)
	}
}

// carryOut writes, and waits if that is asked for. out gets the object.
func (a *app) carryOut(ctx context.Context, c writer, step object.Step, w *writing, out io.Writer) error {
	written, err := c.write(ctx, step)
	if err != nil {
		return err
	}
	name := "networkfault"
	if object.Kind(written) == object.Topology {
		name = "networktopology"
	}
	ends := "it lasts until"
	if end := object.End(written); end != "" {
		ends = "it ends " + end + ", sooner by"
	}
	a.say("%s.tidelay.io/%s %s; %s: kubectl tidelay clear -n %s %s", name, written.GetName(), did(step), ends, written.GetNamespace(), written.GetName())
	if err := printObject(out, written, w.output); err != nil {
		return err
	}
	if !w.wait {
		return nil
	}
	err = a.wait(ctx, c, written, w)
	taken, is := errors.AsType[*takeBack](err)
	if !is {
		return err
	}
	so, undoErr := c.undo(ctx, step, written)
	if undoErr != nil {
		return fmt.Errorf("%w: %w", taken.with("it can't be taken back"), undoErr)
	}
	return taken.with(so)
}

// did says what was done in a step.
func did(step object.Step) string {
	switch {
	case step.Action == object.Create:
		return "created"
	case step.Action == object.Replace:
		return "created again"
	case object.IsSame(step.Before, step.After):
		return "unchanged"
	default:
		return "changed in place"
	}
}
